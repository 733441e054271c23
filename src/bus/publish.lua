-- Appends a message to its topic's history and publishes it, as one step: no reader can find one without the other.
-- KEYS: channel, history, numbering
-- ARGV: verb, epoch of a history that begins now, messages to keep, milliseconds to keep them, milliseconds to keep the
--       numbering, the frame's first byte, the frame from the stamp on
local epoch = redis.call('HGET', KEYS[3], 'epoch')
if not epoch then
  epoch = ARGV[2]
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[3], 'epoch', epoch)
end
local offset = redis.call('HINCRBY', KEYS[3], 'offset', 1)
local frame = ARGV[6] .. epoch .. struct.pack('>I8', offset) .. ARGV[7]
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], string.format('%.0f-0', offset), 'frame', frame)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
redis.call(ARGV[1], KEYS[1], frame)
return offset
