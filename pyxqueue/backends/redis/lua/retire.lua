-- Forget consumers that are gone. One that still holds something is kept: XGROUP DELCONSUMER would destroy it.
-- KEYS the keys of the group
-- ARGV group, consumers
-- Returns how many were forgotten.
local group, forgotten = ARGV[1], 0
allow_writes(KEYS[NEW], group) -- Redis 6.2 thinks that the next one needs memory
for item = 2, #ARGV do
  local held = 0
  for _, stream in ipairs({KEYS[NEW], KEYS[AGAIN]}) do
    held = held + #call('XPENDING', stream, group, '-', '+', 1, ARGV[item])
  end
  if held == 0 then
    call('XGROUP', 'DELCONSUMER', KEYS[NEW], group, ARGV[item])
    call('XGROUP', 'DELCONSUMER', KEYS[AGAIN], group, ARGV[item])
    forgotten = forgotten + 1
  end
end
return forgotten
