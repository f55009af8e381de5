-- Forget consumers that are gone. One that still holds something is kept: XGROUP DELCONSUMER would destroy it.
-- KEYS the five keys of the group
-- ARGV group, consumers
-- Returns how many were forgotten.
local stream, group, forgotten = KEYS[STREAM], ARGV[1], 0
allow_writes(stream, group) -- Redis 6.2 thinks that the next one needs memory
for item = 2, #ARGV do
  if #call('XPENDING', stream, group, '-', '+', 1, ARGV[item]) == 0 then
    call('XGROUP', 'DELCONSUMER', stream, group, ARGV[item])
    forgotten = forgotten + 1
  end
end
return forgotten
