-- Make tasks ready that waited for a limit, or for their name: they come back. Or move them to the line of another gate
-- that has no room.
-- And draw tasks from fair lines: they come to the end of the new ones of their class.
-- KEYS the keys of the group, then the task key of each item
-- ARGV group, then per item: id, the task as it stands in its line
-- Returns the tasks whose turn it is next; without items, also the first ones of fair lines that have stalled. Each is
-- checked again: it may have been admitted or cancelled meanwhile, and another program may have written the line.
local keys, now = slice(KEYS, 1, FIRST_TASK - 1), now_ms()
check_delayed(keys)
check(keys, AGAIN)
check_gates(keys)

local function draw(key, id, task, fields, had)
  local place = NEW_OF[string.sub(had.gate, #FAIR + 1)]
  if not place or call('EXISTS', keys[PLACES[place]]) == 0 then place = 'n' end
  allow_writes(keys[NEW], ARGV[1])
  for _, name in ipairs({'_gate', '_tag', '_flow'}) do remove_field(fields, name) end
  local entry = place == 'n' and append(keys[NEW], fields) or add_in_order(keys, keys[PLACES[place]], fields)
  set_place(key, place, task.more, entry)
  fair.leave(keys, id, fields, had, true)
  call('XDEL', keys[PARKED], task.entry)
end

local function admit(key, id, standing)
  local task = task_at(key)
  local fields = task.place == 'g' and read(keys[PARKED], task.entry)
  local gate = fields and field(fields, '_gate')
  local order = fields and field(fields, is_fair(gate) and '_tag' or '_order')
  if not gate or not order or in_line(gate, order, id) ~= standing then
    call('ZREM', keys[LINES], standing)
    return
  end
  if is_fair(gate) then
    return draw(key, id, task, fields, {gate = gate, tag = order, flow = field(fields, '_flow')})
  end
  local gates = gates_of(fields)
  local waits_for_name = is_task_gate(gate)
  local closed = waits_for_name and room(keys, gate) <= 0 and gate or closed_gate(keys, gates, order)
  if closed == gate then return end
  allow_writes(keys[NEW], ARGV[1])
  if closed then
    set_place(key, 'g', task.more, line_up(keys, id, fields, closed))
    note_turn(keys, closed)
  else
    remove_field(fields, '_gate')
    if not has_rate(gates) and not waits_for_name then remove_field(fields, '_order') end
    if #gates > 0 then set_field(fields, '_tokens', '1') end
    set_field(fields, '_since', int(now))
    local place = place_back(keys, fields) or 'a'
    if fair.must_join(keys, fields, place) then
      set_place(key, 'g', task.more, fair.join(keys, id, fields, place))
    else
      set_place(key, place, task.more, add_in_order(keys, keys[PLACES[place]], fields))
    end
    take_tokens(keys, gates)
  end
  call('ZREM', keys[LINES], standing) -- after its entry is written: Redis may refuse that, and then it waits on
  call('XDEL', keys[PARKED], task.entry)
end

for item = 0, (#ARGV - 1) / 2 - 1 do admit(KEYS[FIRST_TASK + item], ARGV[2 + item * 2], ARGV[3 + item * 2]) end
allow_writes(keys[NEW], ARGV[1])
local found = whose_turn(keys)
for _, head in ipairs(#ARGV == 1 and fair.stalled(keys) or {}) do found[#found + 1] = head end
return found
