-- Accept messages that are ready at once into the only group, each once by its id: `enqueue` for the usual batch.
-- KEYS meta, the group's stream, then the task key of each message
-- ARGV version of the list of groups, then per message: number of values, values
-- Returns 1 or 0 per message (new or known), or 'GROUPS' if the caller's list of groups is out of date. If Redis
-- refuses a message, it returns what it has done before, and the caller has `enqueue` do the rest.
if call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 'GROUPS' end
local now, results, arg = int(next_ms()), {}, 2
for task = 3, #KEYS do
  local known = call('EXISTS', KEYS[task]) == 1
  local last = arg + ARGV[arg]
  if not known then
    local entry = try_call('XADD', KEYS[2], '*', 'enqueued', now, unpack(ARGV, arg + 1, last))
    if type(entry) ~= 'string' then return results end
    call('SET', KEYS[task], 'n' .. entry)
  end
  results[#results + 1] = known and 0 or 1
  arg = last + 1
end
return results
