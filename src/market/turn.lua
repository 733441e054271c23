#!lua flags=allow-oom
-- One node's turn at the feed: it says which coins it wants, and takes, keeps or gives up the lead.
-- KEYS  1 the lease, which holds the leader   2 the term   3 who wants which coin, by the time of its end   4 coins to tell again
-- ARGV  1 this node, 16 characters   2 how long a lease lasts, in ms; 0: this node leaves   3 how long a want lasts, in ms
--       4 how many coins it wants   5 how many it no longer wants   then those, and those that it asks to be told again
-- Gives whether this node leads, the term and, to the leader, the coins that others want and those to tell again.
local node, lease, want = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local wanted, dropped = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Calls take a few thousand arguments at most.
local function each(first, last, width, call)
  for from = first, last, width do
    call(from, math.min(from + width - 1, last))
  end
end

local first = 6
each(first, first + wanted - 1, 1000, function(from, to)
  local entries = {}
  for i = from, to do
    entries[#entries + 1] = now + want
    entries[#entries + 1] = node .. ARGV[i]
  end
  redis.call('ZADD', KEYS[3], unpack(entries))
end)
first = first + wanted
each(first, first + dropped - 1, 1000, function(from, to)
  local entries = {}
  for i = from, to do
    entries[#entries + 1] = node .. ARGV[i]
  end
  redis.call('ZREM', KEYS[3], unpack(entries))
end)
first = first + dropped
each(first, #ARGV, 1000, function(from, to)
  redis.call('SADD', KEYS[4], unpack(ARGV, from, to))
end)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('PEXPIRE', KEYS[3], want)
redis.call('PEXPIRE', KEYS[4], want)

-- A lease without an end is not one that a node has taken.
local holder = redis.call('PTTL', KEYS[1]) > 0 and redis.call('GET', KEYS[1])
if lease == 0 or redis.call('ZCARD', KEYS[3]) == 0 then
  if holder == node then
    redis.call('DEL', KEYS[1])
  end
  return { 0, 0, {}, {} }
end
if holder and holder ~= node then
  return { 0, 0, {}, {} }
end

local term = tonumber(redis.call('GET', KEYS[2]) or 0) or 0
if not holder or term == 0 then
  -- By the clock, so that terms grow even when this Redis has forgotten the last one.
  term = math.max(term + 1, now)
end
redis.call('SET', KEYS[2], string.format('%.0f', term), 'PX', 86400000)
redis.call('SET', KEYS[1], node, 'PX', lease)

local foreign, seen = {}, {}
for _, entry in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  local coin = string.sub(entry, 17)
  if string.sub(entry, 1, 16) ~= node and not seen[coin] then
    seen[coin] = true
    foreign[#foreign + 1] = coin
  end
end
local asked = redis.call('SMEMBERS', KEYS[4])
redis.call('DEL', KEYS[4])
return { 1, term, foreign, asked }
