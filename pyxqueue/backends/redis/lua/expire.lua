-- End tasks that have expired and wait: ready, delayed, or in the line of a gate. One that is in flight then is left to
-- its holder, who may have started it; it does not start any more, as `begin` and `note_expiry` see.
-- KEYS the keys of the group, then the task key of each id
-- ARGV group, history limit, ids
-- Returns per id: a list with the name of the task that was ended, or 0; then the tasks whose turn it is. Each is
-- checked again.
local keys, group, history, now = slice(KEYS, 1, FIRST_TASK - 1), ARGV[1], tonumber(ARGV[2]), now_ms()
local results = {}

local function expire(key, id)
  local expires = expiry_of(keys, id)
  if not expires or expires > now then return 0 end
  local task = task_at(key)
  if is_elsewhere(keys, task) then return nil end
  local stream = keys[PLACES[task.place]]
  local waits = stream and not task.ended and entry_id(task.entry)
  if waits and COMES_BACK[task.place] and holder(stream, group, task.entry) then
    call('ZADD', keys[EXPIRIES], '+inf', id)
    return 0
  end
  local fields = waits and read(stream, task.entry)
  if not fields or not field(fields, 'expires') then -- it has ended, or is another task of this id
    call('ZREM', keys[EXPIRIES], id)
    return 0
  end
  end_expired(keys, key, task, id, fields, history, now)
  if task.place == 'd' then call('ZREM', keys[DELAYED], id) end
  call('XDEL', stream, task.entry)
  return {field(fields, 'name') or ''}
end

allow_writes(keys[NEW], group)
for item = 3, #ARGV do
  local result = expire(KEYS[FIRST_TASK - 3 + item], ARGV[item])
  if not result then break end
  results[item - 2] = result
end
await_expiry(keys)
return with_turns(keys, results)
