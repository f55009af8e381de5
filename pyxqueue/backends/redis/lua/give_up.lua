-- A dependent or suspended task waits for nothing that can still end: let it start, or doom it.
-- KEYS the keys of the group
-- ARGV group, id, what was noted of it when that was found, the id of the task that was lost; '' if all have succeeded
-- Returns 1, or 0 if something has happened to it since; then the id of the task, if it is to be promoted.
local keys, group, id, noted, lost = slice(KEYS, 1, FIRST_TASK - 1), unpack(ARGV)
local parent, one = parents.at(keys, id), dependents.at(keys, id)
if not parent and not one or call('HGET', keys[DEPENDENTS], parent and '+' .. id or id) ~= noted then return {0} end
check(keys, DELAYED)
allow_writes(keys[NEW], group)
if parent then
  parent.need = 0
  parents.set(keys, id, parent)
else
  one.need, one.cause = 0, lost
  if lost ~= '' then one.bad = one.bad + 1 end
  dependents.set(keys, id, one)
end
call('ZADD', keys[DELAYED], int(now_ms()), id)
return {1, '\1' .. id}
