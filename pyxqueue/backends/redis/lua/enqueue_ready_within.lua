-- Accept messages that are ready at once into the only group while that has room, each once by its id: `enqueue_ready`
-- for a queue with a bound.
-- KEYS meta, the streams in which the group has tasks that have not ended, that of new ones first, then the task key of
--   each message
-- ARGV version of the list of groups, the priority classes in use as the caller knows them, how long the group may
--   become, number of its streams, then per message: number of values, values
-- Returns 1 or 0 per message (new or known); if one had no room, it stops there, and the length of the group comes
--   last, below 0. Or 'GROUPS' if one of the caller's lists is out of date. If Redis refuses a message, it returns what
--   it has done before, and the caller has `enqueue_unique` do the rest.
local found = call('HMGET', KEYS[1], 'version', 'classes')
if found[1] ~= ARGV[1] or (found[2] or '') ~= ARGV[2] then return 'GROUPS' end
local max_length, first = tonumber(ARGV[3]), 2 + ARGV[4]
local now, results, length, arg = int(next_ms()), {}, 0, 5
for stream = 2, first - 1 do length = length + call('XLEN', KEYS[stream]) end
for task = first, #KEYS do
  local known = call('EXISTS', KEYS[task]) == 1
  local last = arg + ARGV[arg]
  if not known then
    if length >= max_length then
      results[#results + 1] = -length
      return results
    end
    local entry = try_call('XADD', KEYS[2], '*', 'enqueued', now, unpack(ARGV, arg + 1, last))
    if type(entry) ~= 'string' then return results end
    call('SET', KEYS[task], 'n' .. entry)
    length = length + 1
  end
  results[#results + 1] = known and 0 or 1
  arg = last + 1
end
return results
