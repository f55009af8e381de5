-- Some of the tasks that wait and are noted nowhere, so that they would wait for ever: another program has deleted the
-- delayed set, the lines or the dependents, or the server has evicted them.
-- KEYS the keys of the group
-- ARGV group, where to go on ('-' at first), how many to look at
-- Returns where to go on ('' at the end, and where as many are noted as wait), 1 if some wait in lines, then for each:
-- its id, and its entry.
local group, from, count = ARGV[1], ARGV[2], tonumber(ARGV[3])

-- How many of DEPENDENTS are counted under a name, and the count itself.
local function counted(name)
  local number = call('HGET', KEYS[DEPENDENTS], name)
  return number and 1 + (ms(number) or 0) or 0
end

-- Note again when to look at gates, at what expires, and at what depends on others. Returns whether that was not noted
-- of the last: then DELAYED was deleted, and may have had some of these, too.
local function note_looks(dependent)
  local is_lost = dependent > 0 and not call('ZSCORE', KEYS[DELAYED], LOOK)
  allow_writes(KEYS[NEW], group)
  if is_lost then call('ZADD', KEYS[DELAYED], int(now_ms()), LOOK) end
  if not call('ZSCORE', KEYS[DELAYED], EXPIRY) then pcall(await_expiry, KEYS) end
  if not call('ZSCORE', KEYS[DELAYED], TURN) then pcall(await_turn, KEYS) end
  return is_lost
end

local function are_some()
  local unfinished, started = counted(UNFINISHED), counted(STARTED)
  local known = call('HLEN', KEYS[DEPENDENTS]) - started
  if note_looks(known - math.min(1, unfinished)) then return true end
  local noted = call('ZCARD', KEYS[DELAYED]) + call('ZCARD', KEYS[LINES]) + known - unfinished
  for _, mark in ipairs({TURN, EXPIRY, LOOK}) do
    if call('ZSCORE', KEYS[DELAYED], mark) then noted = noted - 1 end
  end
  return noted < call('XLEN', KEYS[PARKED])
end

-- Whether something will happen to a message: it is in a line, it is delayed, or it waits for tasks or an event.
local function is_noted(id, fields)
  local gate, order = field(fields, '_gate'), nil
  if gate then order = field(fields, is_fair(gate) and '_tag' or '_order') end
  if order and call('ZSCORE', KEYS[LINES], in_line(gate, order, id)) then return true end
  if call('ZSCORE', KEYS[DELAYED], id) then return true end
  if gate then return false end
  if field(fields, '_event') then
    local parent = parents.at(KEYS, id)
    return parent and parent.need > 0
  end
  local one = dependents.at(KEYS, id)
  return one and not one.has_started and one.absent == 0 and not dependents.may_start(one)
end

local found = {'', call('EXISTS', KEYS[LINES])}
local function look()
  if from == '-' and not are_some() then return end
  local rows = call('XRANGE', KEYS[PARKED], from, '+', 'COUNT', count)
  for _, row in ipairs(rows) do
    local fields = unpacked(row[2])
    local id = field(fields, '_id') or field(fields, 'id') or row[1]
    if #id <= 64 and string.find(id, '^[%w_.-]+$') and not is_noted(id, fields) then
      found[#found + 1] = id
      found[#found + 1] = row[1]
    end
  end
  if #rows == count then found[1] = '(' .. rows[count][1] end
end

pcall(look) -- what another program has put at a key is dealt with by those who write there
return found
