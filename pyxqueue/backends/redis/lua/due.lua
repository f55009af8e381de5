-- Which delayed messages are due by the server's clock.
-- KEYS the keys of the group, timetable
-- ARGV group, limit
-- Returns the ms until the next look (-1 if nothing is delayed or expires), the ms until the next schedule is due (-1
-- if there is none), 1 if a gate has room and a line, or a fair line has stalled, then the ids that are due, those
-- of tasks that have expired, each after a '!', and, if it is time to look at them, some of those that wait for others
-- of their flow, each after a '?', and some of those that are suspended until an event or their children, each after a
-- '+'. What cannot be an id is removed: another program has put it there.
local now, limit = int(now_ms()), tonumber(ARGV[2])
local looked = limit > 0 and limit + 2 or 0 -- TURN and EXPIRY may be among them
local due = call('ZRANGEBYSCORE', KEYS[DELAYED], '-inf', now, 'LIMIT', 0, looked)
local wait, ids, has_turns = -1, {}, 0

local function add_ids(found, mark, key)
  local most = #ids + limit
  for _, id in ipairs(found) do
    if #ids == most and id ~= TURN then -- it is left for the next look
    elseif #id <= 64 and string.find(id, '^[%w_.-]+$') then
      ids[#ids + 1] = mark .. id
    elseif id == TURN then
      has_turns = 1
    elseif id ~= EXPIRY and id ~= LOOK then
      if key then call('ZREM', key, id) end
    end
  end
end

local function look_at_expiries()
  if type(try_call('ZCARD', KEYS[EXPIRIES])) == 'table' then call('DEL', KEYS[EXPIRIES]) end
  allow_writes(KEYS[NEW], ARGV[1])
  local expired = call('ZRANGEBYSCORE', KEYS[EXPIRIES], '-inf', now, 'LIMIT', 0, ARGV[2])
  add_ids(expired, '!', KEYS[EXPIRIES])
  if #expired < tonumber(ARGV[2]) then await_expiry(KEYS) end -- what has expired now is ended next, by `expire`
end

add_ids(due, '', KEYS[DELAYED])
local _, heads = pcall(fair.stalled, KEYS) -- what another program has put at a key is dealt with by `admit`
if has_turns == 0 and type(heads) == 'table' and #heads > 0 then has_turns = 1 end
for _, id in ipairs(due) do
  if id == EXPIRY then look_at_expiries() end
  if id == LOOK then
    allow_writes(KEYS[NEW], ARGV[1])
    local some, waiting, suspended = try_call('HRANDFIELD', KEYS[DEPENDENTS], 2 * HEADS, 'WITHVALUES'), {}, {}
    for number = 1, some.err and 0 or #some, 2 do
      local name, has_started = some[number], string.sub(some[number + 1], 1, 1) == '-'
      if has_started or #waiting + #suspended >= HEADS / 4 then -- not this one
      elseif string.sub(name, 1, 1) == '+' then
        suspended[#suspended + 1] = string.sub(name, 2)
      else
        waiting[#waiting + 1] = name
      end
    end
    if some.err or #some == 0 then call('ZREM', KEYS[DELAYED], LOOK) end
    call('ZADD', KEYS[DELAYED], 'XX', int(now + LOOK_MS), LOOK)
    add_ids(waiting, '?')
    add_ids(suspended, '+')
  end
end

-- Whether the clock was set back since the first of TURNS was noted: then what rates have spent is bounded now, and
-- they have their turns earlier.
local function are_turns_late()
  local gate, at = unpack(call('ZRANGE', KEYS[TURNS], 0, 0, 'WITHSCORES'))
  if not gate or not is_rate(gate) then return false end
  local rate = rates.at(KEYS, gate)
  return tonumber(at) > math.max(tonumber(now), rates.sweep_at(rate)) + SWEEP
end

local later = call('ZRANGEBYSCORE', KEYS[DELAYED], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
if later[1] == TURN and select(2, pcall(are_turns_late)) == true then -- as above
  allow_writes(KEYS[NEW], ARGV[1])
  put_off(KEYS, call('ZRANGE', KEYS[TURNS], 0, 0)[1], tonumber(now))
  note_turns(KEYS, 'rate:', 'rate;')
  await_turn(KEYS)
  wait = 0
elseif #due >= limit then
  wait = 0
elseif later[2] and tonumber(later[2]) < 2 ^ 53 then
  wait = math.max(0, later[2] - next_ms())
end
local first, tick = try_call('ZRANGE', KEYS[FIRST_TASK], 0, 0, 'WITHSCORES'), -1
if first[2] and tonumber(first[2]) < 2 ^ 53 then tick = math.max(0, first[2] - now) end
return {wait, tick, has_turns, unpack(ids)}
