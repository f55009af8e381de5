-- Note tasks that wait and are noted nowhere (`unnoted`): a delayed one is due as its message says, one at a gate takes
-- its place in the line again, one that waits for others of its flow is looked at, and a suspended one runs again, and
-- finds what has become of what it waits for. What is noted of them meanwhile stays.
-- KEYS the keys of the group, then the task key of each item
-- ARGV group, then per item: id, entry
-- Returns the ids of those that were noted.
local keys, now, results = slice(KEYS, 1, FIRST_TASK - 1), now_ms(), {}
check_delayed(keys)
check_gates(keys)
allow_writes(keys[NEW], ARGV[1])

local function delay(id, due)
  call('ZADD', keys[DELAYED], 'NX', int(due), id)
  hasten(keys[DELAYED], id, math.max(0, due - now))
end

local function wait_for_others(id, fields)
  local known = dependents.at(keys, id)
  if known and not dependents.may_start(known) and known.absent > 0 then
    return delay(id, now + UNFINISHED_MS)
  elseif known then
    return delay(id, now)
  end
  local one = {need = number_after(fields), absent = 0, bad = 0, due = ms(field(fields, 'due')) or 0, cause = ''}
  one.flow = flow_of(fields)
  dependents.set(keys, id, one)
  delay(LOOK, now)
end

local function stand(id, fields, gate)
  local order = field(fields, is_fair(gate) and '_tag' or '_order')
  if not order then return false end
  call('ZADD', keys[LINES], 0, in_line(gate, order, id))
  note_turn(keys, gate)
  return true
end

-- Where a message waits of which there is no task: its key was deleted too.
local function place_of(fields)
  if field(fields, '_gate') then return 'g' end
  return number_after(fields) > 0 and not field(fields, 'doomed') and 'w' or 'd'
end

for item = 0, (#ARGV - 1) / 2 - 1 do
  local id, entry, key = ARGV[2 + item * 2], ARGV[3 + item * 2], KEYS[FIRST_TASK + item]
  local fields, task = read(keys[PARKED], entry), task_at(key)
  if fields and not task.place then
    task = {place = place_of(fields), entry = entry}
    set_place(key, task.place, false, entry)
  end
  local gate = fields and task.place == 'g' and field(fields, '_gate')
  if not fields then -- it has left its place meanwhile
  elseif task.entry ~= entry then
    call('XDEL', keys[PARKED], entry) -- the message of this task is elsewhere
  else
    if task.place == 'w' and not field(fields, '_event') and number_after(fields) > 0 then
      wait_for_others(id, fields)
    elseif not gate or not stand(id, fields, gate) then
      delay(id, task.place == 'd' and ms(field(fields, 'due')) or now)
    end
    results[#results + 1] = id
  end
end
return results
