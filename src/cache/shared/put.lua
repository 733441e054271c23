-- Keeps an envelope unless what is there is stamped later, be it a value or a tombstone. Returns whether it was kept.
-- KEYS: name.  ARGV: envelope, lifetime in milliseconds.
-- Bytes 5 to 28 are epoch, clock and creation, highest byte first, so that comparing bytes compares them in this order.
-- Another format, told by the first byte, is nothing that this version could compare with, and is overwritten.
local new, there = ARGV[1], redis.call('GETRANGE', KEYS[1], 0, 27)
if #there == 28 and there:byte(1) == new:byte(1) then
  for at = 5, 28 do
    local mine, theirs = new:byte(at), there:byte(at)
    if theirs > mine then return 0 end
    if theirs < mine then break end
  end
end
redis.call('SET', KEYS[1], new, 'PX', ARGV[2])
return 1
