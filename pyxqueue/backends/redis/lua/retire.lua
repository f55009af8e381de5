-- Forget consumers that are gone. One that still holds something is kept: XGROUP DELCONSUMER would destroy it.
-- KEYS the keys of the group
-- ARGV group, consumers
-- Returns how many were forgotten.
local group, forgotten, lives = ARGV[1], 0, live_streams(slice(KEYS, 1, FIRST_TASK - 1))
allow_writes(KEYS[NEW], group) -- Redis 6.2 thinks that the next one needs memory
for item = 2, #ARGV do
  local held = 0
  for _, live in ipairs(lives) do
    held = held + #call('XPENDING', live[2], group, '-', '+', 1, ARGV[item])
  end
  if held == 0 then
    for _, live in ipairs(lives) do call('XGROUP', 'DELCONSUMER', live[2], group, ARGV[item]) end
    forgotten = forgotten + 1
  end
end
return forgotten
