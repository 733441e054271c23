-- The newest message that a topic remembers. KEYS: history, numbering. Answers as since.lua does.
local numbering = redis.call('HMGET', KEYS[2], 'epoch', 'offset')
if not numbering[1] or not numbering[2] then return {'', 0, {}} end
local entry = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not entry then return {numbering[1], numbering[2], {}} end
return {numbering[1], numbering[2], {string.match(entry[1], '%d+'), entry[2][2]}}
