-- Change one schedule, and enqueue the task of its tick into every group, in one step.
-- KEYS meta, timetable, the schedule, the keys of each group, then the task key in each group of the task of the
--   tick, if there is one, then the task key in each group of the task that must have ended, if there is one
-- ARGV version of the list of groups, number of groups, id, mark, time before which it is refused, number of keys of a
--   task that must have ended, the names of the groups, then of what replaces the schedule: when it is due ('+inf' for
--   never), number of values, values; the same of what replaces it if that task has not ended; then of the task of the
--   tick, if there is one: id, delay in ms, number of values, values
-- Returns 1; 2 if that task has not ended; 0 if the schedule has another mark or it is too early; or 'GROUPS' if the
-- caller's list of groups is out of date. No values delete the schedule.
if call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 'GROUPS' end
local timetable, key, groups, id = KEYS[2], KEYS[3], tonumber(ARGV[2]), ARGV[3]
if (fields_of(key, 'mark')[1] or '') ~= ARGV[4] or tonumber(ARGV[5]) > now_ms() then return 0 end
local size, arg, first = own_size(4), 7 + groups, 4
local keys = {}
for group = 1, groups do keys[group] = slice(KEYS, first + size * (group - 1), size) end
first = first + size * groups

local function replacement()
  local count = tonumber(ARGV[arg + 1])
  local one = {next = ARGV[arg], values = slice(ARGV, arg + 2, count)}
  arg = arg + 2 + count
  return one
end

-- The timetable comes first: it may be something that another program has put there.
local function keep(one)
  if #one.values == 0 then
    call('ZREM', timetable, id)
    call('DEL', key)
  else
    call('ZADD', timetable, one.next, id)
    call('DEL', key)
    call('HSET', key, unpack(one.values))
  end
end

-- A schedule that is there can be paused or deleted although Redis is out of memory.
local function keep_at_any_rate(one)
  if ARGV[4] ~= '' then allow_writes(keys[1][NEW], id) end
  keep(one)
end

local new, otherwise = replacement(), replacement()
for group = 1, tonumber(ARGV[6]) do
  local found = task_at(KEYS[#KEYS - groups + group])
  if found.place and not found.ended and not is_gone(keys[group], ARGV[6 + group], found) then
    keep_at_any_rate(otherwise)
    return 2
  end
end
if arg > #ARGV then
  keep_at_any_rate(new)
  if #new.values > 0 and new.next ~= '+inf' and call('ZRANK', timetable, id) == 0 then
    local left = int(math.max(0, new.next - now_ms()))
    for group = 1, groups do publish(keys[group][DELAYED], left) end -- wakes the supervisors
  end
  return 1
end
local task, delay, fields = ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
all_or_nothing(function()
  if call('EXISTS', unpack(KEYS, first, first + groups - 1)) == 0 then
    for group = 1, groups do
      put_new(keys[group], KEYS[first + group - 1], task, slice(ARGV, arg + 3, fields), delay, next_ms())
    end
  end
  keep(new)
end)
return 1
