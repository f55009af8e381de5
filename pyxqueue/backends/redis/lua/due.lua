-- Which delayed messages are due by the server's clock.
-- KEYS the five keys of the group
-- ARGV group, limit
-- Returns the ms until the next one that is not due (-1 for none), then the ids that are due. Changes nothing.
local now = int(now_ms())
local due = redis.call('ZRANGEBYSCORE', KEYS[DELAYED], '-inf', now, 'LIMIT', 0, ARGV[2])
local later = redis.call('ZRANGEBYSCORE', KEYS[DELAYED], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {later[2] and math.max(0, later[2] - next_ms()) or -1, unpack(due)}
