-- Make tasks ready that waited for a limit: they come back. Or move them to the line of another gate that has no room.
-- KEYS the keys of the group, then the task key of each item
-- ARGV group, then per item: id, the task as it stands in its line
-- Returns the tasks whose turn it is next. Each is checked again: it may have been admitted or cancelled meanwhile, and
-- another program may have written the line.
local keys, now = slice(KEYS, 1, FIRST_TASK - 1), now_ms()
check(keys, PARKED)
check(keys, AGAIN)
check_gates(keys)

local function admit(key, id, standing)
  local task = task_at(key)
  local fields = task.place == 'g' and read(keys[PARKED], task.entry)
  local gate, order = fields and field(fields, '_gate'), fields and field(fields, '_order')
  if not gate or not order or in_line(gate, order, id) ~= standing then
    call('ZREM', keys[LINES], standing)
    return
  end
  local gates = gates_of(fields)
  local closed = closed_gate(keys, gates, order)
  if closed == gate then return end
  allow_writes(keys[NEW], ARGV[1])
  if closed then
    set_place(key, 'g', task.more, line_up(keys, id, fields, closed))
    note_turn(keys, closed)
  else
    remove_field(fields, '_gate')
    if not has_rate(gates) then remove_field(fields, '_order') end
    set_field(fields, '_tokens', '1')
    set_field(fields, '_since', int(now))
    local place = place_back(keys, fields) or 'a'
    set_place(key, place, task.more, add_in_order(keys, keys[PLACES[place]], fields))
    take_tokens(keys, gates)
  end
  call('ZREM', keys[LINES], standing) -- after its entry is written: Redis may refuse that, and then it waits on
  call('XDEL', keys[PARKED], task.entry)
end

for item = 0, (#ARGV - 1) / 2 - 1 do admit(KEYS[FIRST_TASK + item], ARGV[2 + item * 2], ARGV[3 + item * 2]) end
return whose_turn(keys)
