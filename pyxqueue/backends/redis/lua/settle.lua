-- Apply settlements; only those of the current holder are accepted. `settle_done` does the usual ones.
-- KEYS the keys of the group, meta, then per item its task key, its record key if the task key outlives it (a failure,
--   a retry that may come too late, or a record that is kept for less than ids are), and the task keys of follow-ups
-- ARGV group, history limit, number of items, the consumer that has most of them, then for each live stream
--   whose key is given: the first and the last of their entries in it, the id behind the last ('' if there is none; all
--   three '' if there are none in it), then per item: place, entry, consumer, id, letters ('1' if it is not a
--   message), verdict, reason or delay in ms (of a retry also, after a space, the line to keep of its run, a line
--   break, and the reason if it may come too late), record, its ttl in ms, made ('1' for a record that gets the
--   attempt of the message), number of follow-ups, then per follow-up: id, delay, number of values, values
-- Returns 1 or 0 per item, then the tasks whose turn it is. A message is written to its next place before it leaves the
-- stream, so that nothing is lost if Redis refuses a write (of an entry, where a stream has no ids left). It works
-- although Redis is out of memory.
local keys, meta, group, history = slice(KEYS, 1, FIRST_TASK - 1), KEYS[FIRST_TASK], ARGV[1], tonumber(ARGV[2])
local items, sender, now, soon = tonumber(ARGV[3]), ARGV[4], now_ms(), next_ms() -- one time for all that it delays
local results, next_key, arg = {}, FIRST_TASK + 1, 5

-- The holders and the fields of all entries of a live stream, in two looks. What they leave out, because entries of
-- others lie between, is looked up alone.
local function look(stream, first, last, behind)
  local live = {stream = stream, first = first, behind = behind, holders = {}, fields = {}, rows = {}, leaving = {}}
  live.are_rows = true
  if first == '' then return live end
  for _, row in ipairs(call('XPENDING', stream, group, first, last, items, sender)) do live.holders[row[1]] = sender end
  live.rows = call('XRANGE', stream, first, last, 'COUNT', items)
  for _, row in ipairs(live.rows) do live.fields[row[1]] = row[2] end
  return live
end

local lives = {}
for place in string.gmatch(#keys > OWN and 'naPQRSTUVW' or 'na', '.') do
  lives[place] = look(keys[PLACES[place]], unpack(ARGV, arg, arg + 2))
  arg = arg + 3
end

local function fields_at(live, entry)
  return live.fields[entry] and unpacked(live.fields[entry]) or read(live.stream, entry)
end

-- The entries that leave their stream. All go at once, also if the script stops at a later item.
local function leaves(live, entry)
  live.leaving[#live.leaving + 1] = entry
  live.are_rows = live.are_rows and live.fields[entry] ~= nil
  live.holders[entry] = '' -- a second settlement of it is refused
end

-- Whether a retry would be due after the expiry of its task; one that was cancelled ends as cancelled.
local function is_too_late(one, task, fields, delay)
  local expires = expiry_of(keys, one.id) or ms(field(fields, 'expires')) or 0
  if task.more and notes_of(keys, one.id, 'cancel')[1] then return false end
  return expires == math.huge or (expires > 0 and expires <= (delay > 0 and soon + delay or now))
end

-- Whether a task that is to fail was doomed by one that was retried meanwhile. Then it waits again.
local function rejoins(one, task, fields)
  local found = one.verdict == 'fail' and fields and field(fields, 'doomed') and dependents.at(keys, one.id)
  if not found or one.raw or not found.has_started or not dependents.may_rejoin(fields, found) then return false end
  if task.more and notes_of(keys, one.id, 'cancel')[1] then return false end
  check_delayed(keys)
  check_again(keys, 0, one.place)
  if found.need == 0 then
    remove_field(fields, 'doomed')
    put_again(keys, one.key, task, one.id, fields, 0, now, false, one.place, false, false)
    return true
  end
  keep_id(fields, one.id)
  local had = strip_gates(fields)
  wait_again(keys, one.key, one.id, fields, found, task.more)
  if had then leave_gates(keys, one.id, fields, had) end
  if task.more then announce(keys[DELAYED], notes_of(keys, one.id, 'waiters')[1], one.id) end
  return true
end

-- Let a task wait (L14). The record of the item has the event for which it waits, the flow of its children, and then
-- names and values of steps, packed.
local function suspend(one, task, fields)
  local values, due = unpacked({'packed', one.record}), tonumber(one.detail)
  local event, flow = values[1], values[2]
  for i = 3, #values, 2 do keep_step(keys, one.key, task, one.id, 's' .. values[i], values[i + 1]) end
  if task.more and notes_of(keys, one.id, 'cancel')[1] then -- cancelled meanwhile
    end_cancelled(keys, one.key, task, one.id, fields, history, now, one.consumer)
    return
  end
  drop_expiry(keys, one.id, fields)
  for _, name in ipairs({'expires', 'redelivered', 'due'}) do remove_field(fields, name) end
  local waits = one.children > 0 or due > now or event ~= '' and due == 0
  if not waits or event ~= '' and field(kept_names(keys, one.id), 'e' .. event) then
    put_again(keys, one.key, task, one.id, fields, 0, soon, false, one.place, false, true)
    return
  end
  fields_of(keys[DEPENDENTS], UNFINISHED) -- which deletes what is not a hash
  keep_id(fields, one.id)
  local had = strip_gates(fields)
  set_field(fields, '_event', event)
  if due > 0 then set_field(fields, 'due', int(due)) end
  local entry = append(keys[PARKED], fields)
  if due > 0 then
    call('ZADD', keys[DELAYED], int(due), one.id)
    hasten(keys[DELAYED], one.id, due - now)
  else
    local parent = {need = math.max(1, one.children), flow = one.children > 0 and flow or '*', numbers = ''}
    if one.first then parent.numbers = ' ' .. int(one.first) .. ' ' .. int(one.last) end
    parents.set(keys, one.id, parent)
    call('ZADD', keys[DELAYED], 'NX', int(now + LOOK_MS), LOOK)
  end
  set_place(one.key, due > 0 and 'd' or 'w', task.more, entry)
  if had then leave_gates(keys, one.id, fields, had) end
  if task.more then
    call('HDEL', keys[NOTES], 'progress:' .. one.id)
    announce(keys[DELAYED], notes_of(keys, one.id, 'waiters')[1], one.id)
  end
end

-- Whether a message is a child for which a suspended task waits.
local function is_child(one, fields)
  local flow = flow_of(fields)
  for _, edge in ipairs(flow and edges_of(fields) or {}) do
    if edge.id == one.id and edge.policy == 'c' and unpacked({'packed', one.record})[2] == flow then return true end
  end
  return false
end

-- Note the lowest and the highest number of its children: none, if there is one without, or if not all follow-ups have
-- one of these.
local function note_children(one, ids, follow_ups)
  local flow, first, last = unpacked({'packed', one.record})[2], math.huge, -1
  for _, id in ipairs(ids) do
    local prefix, digits = string.match(id, '^(.*)%.(%d+)$')
    local number = prefix == flow and #digits <= 7 and tonumber(digits)
    if not number then return end
    first, last = math.min(first, number), math.max(last, number)
  end
  if #ids > 0 and last - first < follow_ups then one.first, one.last = first, last end
end

-- Put the message of a retry or a deferral back. past: the line to keep of its run
local function put_back(one, task, delay, past)
  local fields = one.fields
  if fields and not one.raw then
    if one.verdict == 'retry' then
      count_up(fields, 'attempt', 1)
      remember_run(fields, past)
      remove_field(fields, 'redelivered')
    elseif delay > 0 then
      count_up(fields, 'deferrals', 0)
    end
    remove_field(fields, 'due')
  end
  if task.more and notes_of(keys, one.id, 'cancel')[1] then -- cancelled meanwhile
    end_cancelled(keys, one.key, task, one.id, fields, history, now, one.consumer)
  elseif fields then
    local was_drawn = one.verdict == 'defer' -- a retry takes its turn again
    put_again(keys, one.key, task, one.id, fields, delay, soon, one.raw, one.place, false, was_drawn)
  else
    end_gone(keys, meta, group, one.key, task, one.id, now)
  end
end

-- End a task with the record of the item, which gets the attempt of the message if the store is to add it.
-- fields: of its message, nil if it is gone; place: 'h' or 'f'; mark: as for `end_task`
local function finish(one, task, apart, fields, place, mark)
  local record = one.made and one.fields and with_attempt(one.record, one.fields) or one.record
  return end_task(keys, one.key, task, one.id, fields, place, mark, record, one.ttl, history, now, apart)
end

-- End a task that is done, cancelled or failed.
local function conclude(one, task, apart)
  if one.verdict == 'fail' and one.fields then
    finish(one, task, apart, one.fields, 'f', {'_reason', one.detail})
    return
  end
  local state = string.sub(one.record, 1, 1)
  local fields = one.fields or one.verdict == 'fail' and {} or nil -- if its message is gone, there is nothing to keep
  local ended = finish(one, task, apart, fields, 'h', {'_state', state})
  if state == '4' then note_failure(meta, group, ended) end
end

-- one: the item, with the fields of its message, or nil; task: as `task_at` has found it
local function apply(one, task, apart)
  local again = one.verdict == 'retry' or one.verdict == 'defer'
  local delay = again and tonumber(string.match(one.detail, '^%d+'))
  local past, reason = nil, nil
  if again then past, reason = string.match(one.detail, '^%d+ ([^\n]*)\n(.*)$') end
  if one.verdict == 'fail' then check(keys, FAILED) end
  if again then check_again(keys, delay, one.place) end
  if one.verdict == 'suspend' then
    check_delayed(keys)
    check_again(keys, 0, one.place)
  end
  if one.verdict == 'suspend' and one.fields then
    suspend(one, task, one.fields)
  elseif one.verdict == 'suspend' then
    end_gone(keys, meta, group, one.key, task, one.id, now)
  elseif apart and one.verdict == 'retry' and one.fields and is_too_late(one, task, one.fields, delay) then
    finish(one, task, apart, one.fields, 'f', {'_reason', reason})
  elseif again then
    put_back(one, task, delay, past)
  elseif not rejoins(one, task, one.fields) then
    conclude(one, task, apart)
  end
  leaves(one.live, one.entry)
end

local function settle_next()
  local one = {place = ARGV[arg], entry = ARGV[arg + 1], consumer = ARGV[arg + 2], id = ARGV[arg + 3]}
  one.live = lives[one.place]
  one.key, one.raw, one.verdict, one.detail = KEYS[next_key], ARGV[arg + 4] == '1', ARGV[arg + 5], ARGV[arg + 6]
  one.record, one.ttl, one.made = ARGV[arg + 7], ARGV[arg + 8], ARGV[arg + 9] == '1'
  one.children = 0
  local children = {}
  local apart, task = nil, nil
  local expires = one.verdict == 'retry' and string.find(ARGV[arg + 4], 'b', 1, true)
  if one.verdict == 'fail' or expires or one.verdict == 'done' and tonumber(one.ttl) < DEDUPE_MS then
    next_key = next_key + 1
    apart = KEYS[next_key]
  end
  local accepted = (one.live.holders[one.entry] or holder(one.live.stream, group, one.entry)) == one.consumer
  if accepted then
    task, one.fields = task_at(one.key), fields_at(one.live, one.entry)
    if is_of_other(one.fields, one.id, one.entry) then
      accepted = false
    elseif is_copy(keys, group, task, ARGV[arg], one.entry) then
      leaves(one.live, one.entry)
      accepted = false
    end
  end
  local follow_ups = tonumber(ARGV[arg + 10])
  arg, next_key = arg + 11, next_key + 1

  if follow_ups == 0 then
    if accepted then apply(one, task, apart) end
  else
    all_or_nothing(function()
      for _ = 1, follow_ups do
        local count = tonumber(ARGV[arg + 2])
        if accepted and call('EXISTS', KEYS[next_key]) == 0 then
          local fields = slice(ARGV, arg + 3, count)
          if one.verdict == 'suspend' and is_child(one, fields) then children[#children + 1] = ARGV[arg] end
          put_new(keys, KEYS[next_key], ARGV[arg], fields, tonumber(ARGV[arg + 1]), soon)
        end
        arg, next_key = arg + 3 + count, next_key + 1
      end
      one.children = #children
      note_children(one, children, follow_ups)
      if accepted then apply(one, task, apart) end
    end)
  end
  results[#results + 1] = accepted and 1 or 0
end

allow_writes(keys[NEW], group)
local done, reason = pcall(function()
  while arg <= #ARGV do settle_next() end
end)
for _, live in pairs(lives) do
  live.are_rows = live.are_rows and #live.leaving == #live.rows
  remove_settled(live.stream, group, live.leaving, live.are_rows, live.first, live.behind)
end
if not done then error(reason, 0) end
return with_turns(keys, results)
