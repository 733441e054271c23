#!lua flags=allow-oom
-- What a node has missed: epoch, clock, and then the slots that were revoked after the clock that it knows.
-- KEYS: table, channel.  ARGV: the verb that publishes, node, known epoch, known clock.
-- A table that knows less than the node has lost something: it starts again in a later epoch, and says so to all.
local known_epoch, known_clock = tonumber(ARGV[3]), tonumber(ARGV[4])
local found = redis.pcall('HMGET', KEYS[1], 'e', 'c')
-- Something else in its place is no table, and a number that Lua does not know exactly is no epoch.
local epoch, clock = tonumber(found[1] or 0) or 0, tonumber(found[2] or 0) or -1
if epoch >= 2 ^ 53 or clock >= 2 ^ 53 then
  epoch = 0
end
if epoch == 0 or clock < 0 or epoch < known_epoch or (epoch == known_epoch and clock < known_clock) then
  local time = redis.call('TIME')
  epoch = math.max(time[1] * 1000000 + time[2], known_epoch + 1, epoch + 1)
  clock = 0
  local text = string.format('%.0f', epoch)
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'e', text, 'c', 0)
  redis.call(ARGV[1], KEYS[2], table.concat({ARGV[2], text, 0}, ' '))
end
local answer = {epoch, clock}
if epoch == known_epoch and clock == known_clock then
  return answer
end
local after = epoch == known_epoch and known_clock or 0
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local slot, revoked = tonumber(all[at]), tonumber(all[at + 1])
  if slot and revoked and revoked > after then
    answer[#answer + 1] = slot
    answer[#answer + 1] = revoked
  end
end
return answer
