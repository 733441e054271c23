#!lua flags=allow-oom
-- A node says that it lives; the answer is how many do.
-- KEYS[1] the nodes, by the time of their death   ARGV[1] this node   ARGV[2] how long it lives without another beat, in ms
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
