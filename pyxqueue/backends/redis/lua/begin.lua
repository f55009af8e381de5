-- Whether tasks in flight may start now; only for their holder. What has expired ends; what its rates turn away, or
-- whose name is paused, waits in the line of a gate; a lock that is held until the start is given back.
-- KEYS the keys of the group, then the task key of each item
-- ARGV group, history limit, then per item: place, entry, consumer, id
-- Returns per item: 0 lost, 1 run, 2 expired, 3 turned away; then the tasks whose turn it is. A repeat of a reply that
-- was lost gets the same, or 0 for what has left its place.
local keys, group, history, now = slice(KEYS, 1, FIRST_TASK - 1), ARGV[1], tonumber(ARGV[2]), now_ms()
local results = {}

-- Count a start for all rates of a message, or for none if one of them has no room.
local function count_start(gates)
  local counted, us = {}, now_us()
  for _, gate in ipairs(gates) do
    if is_rate(gate) then
      local rate = rates.at(keys, gate)
      if rates.opening(rate, rate.started) > us then return false end
      if rate.interval then counted[#counted + 1] = rate end
    end
  end
  for _, rate in ipairs(counted) do
    rate.started = math.max(us, rate.started) + rate.interval
    rates.spend(keys, rate)
  end
  return true
end

-- Let a message wait for its name, at the gate `held_at`, or for its rates, which had admitted it. One that was
-- cancelled ends.
local function turn_away(key, task, place, consumer, id, fields, gates, held_at)
  check_again(keys, 0, place)
  check_delayed(keys)
  for _, gate in ipairs(field(fields, '_tokens') and gates or {}) do
    local rate = is_rate(gate) and rates.at(keys, gate)
    if rate and rate.interval then
      rate.admitted = math.max(0, rate.admitted - rate.interval)
      rates.keep(keys, rate)
    end
  end
  if task.more and notes_of(keys, id, 'cancel')[1] then
    end_cancelled(keys, key, task, id, fields, history, now, consumer)
  else
    put_again(keys, key, task, id, fields, 0, now, false, place, true, false, held_at)
  end
end

-- Whether a message may start, as far as its rates go. A start is noted with the entry, which every delivery has anew.
local function starts(key, task, place, entry, id, gates)
  if task.more and notes_of(keys, id, 'begun')[1] == entry then return true end
  if not count_start(gates) then return false end
  if not task.place then -- written by hand: the task key made here must name its entry
    task.place, task.entry = place, entry
    set_place(key, place, false, entry)
  end
  note(keys, key, task, id, 'begun', entry)
  return true
end

-- The gate of the name of a message, if that is paused and its start was not counted before.
local paused = {} -- by gate
local function held(task, entry, id, fields)
  local gate = TASK_GATE .. (field(fields, 'name') or '')
  if paused[gate] == nil then paused[gate] = fields_of(keys[GATES], 'paused:' .. gate)[1] == '1' end
  if not paused[gate] then return nil end
  if task.more and notes_of(keys, id, 'begun')[1] == entry then return nil end
  return gate
end

local function begin(key, place, entry, consumer, id)
  local stream = keys[PLACES[place]]
  if holder(stream, group, entry) ~= consumer then return 0 end
  local task, fields, result = task_at(key), read(stream, entry), 2
  if is_of_other(fields, id, entry) or is_copy(keys, group, task, place, entry) then return 0 end
  fields = fields or {}
  local held_at = held(task, entry, id, fields)
  local expires, gates = ms(field(fields, 'expires')), gates_of(fields)
  expires = expires and expiry_of(keys, id) or expires or 0
  allow_writes(keys[NEW], group)
  if #gates > 0 or held_at then check_gates(keys) end
  if expires > 0 and (expires <= now or expires == math.huge) then
    end_expired(keys, key, task, id, fields, history, now)
  elseif held_at or has_rate(gates) and not starts(key, task, place, entry, id, gates) then
    turn_away(key, task, place, consumer, id, fields, gates, held_at)
    result = 3
  else
    local lock = task.more and notes_of(keys, id, 'lock')[1]
    if lock and lock_of(lock) == 's' then
      give_back(keys, id, lock)
      call('HDEL', keys[NOTES], 'lock:' .. id)
    end
    return 1
  end
  call('XACK', stream, group, entry)
  call('XDEL', stream, entry)
  return result
end

for item = 0, (#ARGV - 2) / 4 - 1 do
  results[item + 1] = begin(KEYS[FIRST_TASK + item], unpack(ARGV, 3 + item * 4, 6 + item * 4))
end
return with_turns(keys, results)
