#!lua flags=allow-oom
-- Revokes slots for all nodes: one step of the shared clock, noted for each slot and told to all who listen.
-- KEYS: table, channel.  ARGV: the verb that publishes, node, slots.  Returns epoch and clock.
local epoch = redis.pcall('HGET', KEYS[1], 'e')
local known = type(epoch) == 'string' and (tonumber(epoch) or 0)
local clock = known and known > 0 and known < 2 ^ 53 and redis.pcall('HINCRBY', KEYS[1], 'c', 1)
if type(clock) ~= 'number' then
  -- There is no table, or something else in its place.
  local time = redis.call('TIME')
  epoch, clock = string.format('%.0f', time[1] * 1000000 + time[2]), 1
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'e', epoch, 'c', clock)
end
local message = {ARGV[2], epoch, clock}
for at = 3, #ARGV do
  redis.call('HSET', KEYS[1], ARGV[at], clock)
  message[#message + 1] = ARGV[at]
end
redis.call(ARGV[1], KEYS[2], table.concat(message, ' '))
return {tonumber(epoch), clock}
