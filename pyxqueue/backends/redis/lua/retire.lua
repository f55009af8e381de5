-- Forget a consumer that is gone, unless something is still pending for it: XGROUP DELCONSUMER would destroy that.
-- KEYS the five keys of the group
-- ARGV group, consumer, least idle time in ms
-- Returns 1 if it was forgotten.
local stream, group, consumer = KEYS[STREAM], ARGV[1], ARGV[2]
if #redis.call('XPENDING', stream, group, '-', '+', 1, consumer) > 0 then return 0 end
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  if field(info, 'name') == consumer and field(info, 'idle') >= tonumber(ARGV[3]) then
    allow_writes(stream, group) -- Redis 6.2 thinks that the next one needs memory
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer)
    return 1
  end
end
return 0
