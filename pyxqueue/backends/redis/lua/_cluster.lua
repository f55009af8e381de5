-- In scripts for a cluster, what stands here takes the place of what has the same name in `_common.lua`.

-- Tell those who listen in the shard of the queue; no other node hears of it. If nobody there listens, all nodes are
-- told: an older program listens that way, and while a slot is being moved, those who listen by shard are at its old
-- owner. So does a server that has no shard channels (Redis 6.2, which does not know its own version either), or whose
-- ACL forbids them.
local function publish(channel, message)
  local heard = redis.REDIS_VERSION_NUM and try_call('SPUBLISH', channel, message)
  if type(heard) ~= 'number' or heard == 0 then try_call('PUBLISH', channel, message) end
end
