-- Everything that is known about tasks.
-- KEYS the keys of the group, meta, then the task key of each id, then the record key of each
-- ARGV group, how many bytes of arguments and results are returned, '' for all, ids
-- Returns per id: {the value of the task; its record, if that can be read and has a key of its own, or ''; its
-- progress, or '', or of a dependent task for how many it waits; message fields; holder, or ''; 1 if its record can be
-- read; when it was claimed, or '' if that is not known; its number in its fair line, or 0; how many bytes its
-- arguments, all its fields, and its result have, if not all are returned}, or 0 if the task is not known.
local keys, meta, group, now = slice(KEYS, 1, FIRST_TASK - 1), KEYS[FIRST_TASK], ARGV[1], now_ms()
local results, ids, peek = {}, #ARGV - 2, tonumber(ARGV[2])
for item = 1, ids do
  local id, key = ARGV[2 + item], KEYS[FIRST_TASK + item]
  local task = task_at(key)
  if is_elsewhere(keys, task) then return results end
  local foreign = not task.place and is_foreign(keys, id)
  if foreign then task = parse('n' .. id) end
  if not task.place then
    results[item] = 0
  else
    local stream, entry = keys[PLACES[task.place]], task.entry
    local pending = COMES_BACK[task.place] and try_call('XPENDING', stream, group, entry, entry, 1) or {}
    local _, owner, silent = unpack(pending[1] or {})
    local fields = read(stream, entry)
    if not fields and not owner and is_gone(keys, group, task) then
      end_gone(keys, meta, group, key, task, id, now)
      task = task_at(key)
    elseif not fields and task.place == 'f' and task.ended then -- it cannot be run again, so its id need not be kept
      allow_writes(keys[NEW], group)
      drop_steps(keys, id, notes_of(keys, id, 'steps')[1])
      local kept = int(math.max(DEDUPE_MS, ms(task.ttl) or 0))
      call('SET', key, 'h' .. string.sub(task.text, 2), 'PX', kept)
    end
    local found = with_record(task, KEYS[FIRST_TASK + ids + item], now)
    local progress, started
    if task.more and not task.ended then progress, started = unpack(notes_of(keys, id, 'progress', 'started')) end
    local dependent = task.place == 'w' and dependents.at(keys, id)
    if task.place == 'w' and fields and field(fields, '_event') then dependent = parents.at(keys, id) or {need = 0} end
    if dependent then progress = int(dependent.need) end
    local since = ''
    if owner and started_with(started, entry) then
      since = string.match(started, '%d+$')
    elseif owner and not foreign then
      since = int(now - silent)
    end
    local gate, number = task.place == 'g' and fields and field(fields, '_gate'), 0
    if is_fair(gate) then
      local standing = in_line(gate, field(fields, '_tag') or '', id)
      number = try_call('ZLEXCOUNT', keys[LINES], '[' .. gate .. '\0', '[' .. standing)
      if type(number) ~= 'number' then number = 0 end
    end
    local text, record, body, whole, value = task.text, found and found[2] or '', 0, 0, 0
    if peek then
      if fields then fields, body, whole = outlined(fields, peek) end
      if record ~= '' then
        record, value = outlined_value(record, '%d ', peek)
      elseif task.ended then
        text, value = outlined_value(text, '[hf]%+?[%d-]* %d* %d+ %d ', peek)
      end
    end
    results[item] = {
      text, record, progress or '', fields or {}, owner or '', found and 1 or 0, since, number, body, whole, value,
    }
  end
end
return results
