-- Accept messages into every registered group, each once by its id.
-- KEYS meta, the keys of each group, then one task key per group for each message
-- ARGV version of the list of groups, number of groups, then per message: id, delay in ms, number of values, values
-- Returns 1 or 0 per message (new or known), or 'GROUPS' if the caller's list of groups is out of date.
if call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 'GROUPS' end
local groups, now, results = tonumber(ARGV[2]), next_ms(), {}
local keys, size = {}, own_size(2)
for group = 1, groups do keys[group] = slice(KEYS, 2 + size * (group - 1), size) end
local task, arg = 1 + size * groups, 3
while arg <= #ARGV do
  local id, delay, count = ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  local known = call('EXISTS', unpack(KEYS, task + 1, task + groups)) > 0
  if not known then
    local function put_into(group)
      put_new(keys[group], KEYS[task + group], id, slice(ARGV, arg + 3, count), delay, now)
    end
    if groups == 1 then
      put_into(1)
    else
      all_or_nothing(function()
        for group = 1, groups do put_into(group) end
      end)
    end
  end
  results[#results + 1] = known and 0 or 1
  task, arg = task + groups, arg + 3 + count
end
return results
