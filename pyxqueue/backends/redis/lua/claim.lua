-- Hand out the first ready messages: always of the highest priority class in which one is ready, but every sixteenth
-- of the class that has waited longest; within a class, those that came back and new ones in turns. It does what
-- `take_first` in `pyxqueue.model.turns` says, for a queue in which a class other than 0 is in use.
-- KEYS the keys of the group
-- ARGV group, consumer, limit, number of deliveries since the last that was chosen by age, then per class in use, the
--   highest first: the place of what came back, the place of what is new, '1' if a new one is next
-- Returns per message: place, entry, fields. A stream that another program has deleted is an error if the others are
-- empty: what has been read is handed out first.
local BY_AGE = 16
local group, consumer, limit, since = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local classes, results, missing = {}, {}, nil

local function line(place)
  return {place = place, stream = KEYS[PLACES[place]], entries = {}, at = 1, ended = false}
end

for arg = 5, #ARGV, 3 do
  classes[#classes + 1] = {back = line(ARGV[arg]), new = line(ARGV[arg + 1]), owed = ARGV[arg + 2] == '1'}
end

-- The first message of a line, or nil. count: how many are read at once, if none are left.
local function head(line, count)
  if line.at > #line.entries and not line.ended then
    local reply = try_call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', line.stream, '>')
    if reply and reply.err then missing, reply = reply, nil end
    line.entries, line.at = reply and reply[1][2] or {}, 1
    line.ended = #line.entries < count
  end
  return line.entries[line.at]
end

-- The line of a class of which it is the turn, if a message is ready there. count: how many it may hand out.
local function next_line(class, count)
  local first, second = class.back, class.new
  if class.owed then first, second = second, first end
  if head(first, second.ended and count or math.ceil(count / 2)) then return first end
  if head(second, count) then return second end
end

-- The id of that message of a class that became ready first, or nil.
local function oldest(class)
  local back, new = head(class.back, 1), head(class.new, 1)
  if back and new then return is_later(back[1], new[1]) and new[1] or back[1] end
  return back and back[1] or new and new[1]
end

local function next_class(count)
  local chosen, line, age
  for _, class in ipairs(classes) do
    if since == BY_AGE - 1 then
      local found = oldest(class)
      if found and (not age or is_later(age, found)) then
        chosen, age = class, found
      end
    else
      line = next_line(class, count)
      if line then return class, line end
    end
  end
  if chosen then return chosen, next_line(chosen, 1) end
end

-- The largest id below one that is not 0-0. Its numbers have more digits than a Lua number holds.
local function before(entry)
  local ms, sequence = string.match(entry, '^(%d+)%-(%d+)$')
  local function decrement(text)
    local head, digit, zeros = string.match(text, '^(%d-)([1-9])(0*)$')
    local less = head .. (digit - 1) .. string.rep('9', #zeros)
    return #less > 1 and string.match(less, '^0(%d+)$') or less
  end
  if sequence ~= '0' then return ms .. '-' .. decrement(sequence) end
  return decrement(ms) .. '-' .. LAST
end

-- Take back what was read and not handed out, as if it had not been read.
local function give_back(line)
  local rest = #line.entries - line.at + 1
  if rest <= 0 then return end
  local ids = {}
  for i = line.at, #line.entries do ids[#ids + 1] = line.entries[i][1] end
  for from = 1, rest, MAX_FIELDS do
    call('XACK', line.stream, group, unpack(ids, from, math.min(rest, from + MAX_FIELDS - 1)))
  end
  call('XGROUP', 'SETID', line.stream, group, before(ids[1]))
end

while #results < limit do
  local class, line = next_class(limit - #results)
  if not class then break end
  local entry = line.entries[line.at]
  line.at = line.at + 1
  results[#results + 1] = {line.place, entry[1], entry[2]}
  class.owed = line == class.back
  since = (since + 1) % BY_AGE
end
for _, class in ipairs(classes) do
  give_back(class.back)
  give_back(class.new)
end
return #results == 0 and missing or results
