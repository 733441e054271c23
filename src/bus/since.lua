-- What a topic remembers after a place; everything, when the place is not one of this history.
-- KEYS: history, numbering
-- ARGV: epoch and offset of the place, most messages
-- Answers with the epoch (empty: there is no history), the newest offset, and offset and frame of each message.
local numbering = redis.call('HMGET', KEYS[2], 'epoch', 'offset')
if not numbering[1] or not numbering[2] then return {'', 0, {}} end
local from = '-'
if numbering[1] == ARGV[1] and tonumber(ARGV[2]) <= tonumber(numbering[2]) then from = '(' .. ARGV[2] .. '-0' end
local messages = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[3])) do
  messages[#messages + 1] = string.match(entry[1], '%d+')
  messages[#messages + 1] = entry[2][2]
end
return {numbering[1], numbering[2], messages}
