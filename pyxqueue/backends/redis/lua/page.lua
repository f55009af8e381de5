-- The ids of some tasks of one place, in its order. What a task is like is read by its id in a second step.
-- KEYS the keys of the group, meta
-- ARGV group, the priority classes in use as the caller knows them, how many tasks, where to go on in the first part of
-- the place ('' for its beginning), how many bytes of arguments are returned, then for each part: its kind, and its
-- line (the letter of a stream, or a range of `LINES`)
-- Returns for each task: {the number of its part; where it stands there; its id, of one that is ready the fields `id`
-- and `_id` of its entry, of one in flight {these; its holder}, of an ended one {its fields; how many bytes its
-- arguments have; and all fields}},
-- or 'GROUPS' if the caller's classes are out of date. An empty id stands for what is looked at next time.
if (call('HGET', KEYS[FIRST_TASK], 'classes') or '') ~= ARGV[2] then return 'GROUPS' end
local keys, group, count, peek = slice(KEYS, 1, FIRST_TASK - 1), ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[5])
local paused, results = paused_at(KEYS[FIRST_TASK], group), {}

local FEW = 256 -- bytes of the arguments of an ended task: the second step has more, unless only the entry is left
local STEP = 256 -- fields, always as many, so that a step can be looked at again

local function found(part, position, what)
  results[#results + 1] = {part, position, what}
end

-- Of an entry only what its id may be.
local function names(fields)
  local short = {}
  for _, name in ipairs({'id', '_id'}) do
    local value = field(fields, name)
    if value then
      short[#short + 1] = name
      short[#short + 1] = string.sub(value, 1, 100)
    end
  end
  return short
end

-- Whether a text is not greater than another, byte by byte, as Redis orders members: Lua goes by the server's locale.
local function is_up_to(text, other)
  for i = 1, math.min(#text, #other) do
    local one, two = string.byte(text, i), string.byte(other, i)
    if one ~= two then return one < two end
  end
  return #text <= #other
end

local parts = {
  ready = function(part, line, from, left)
    local stream = keys[PLACES[line]]
    if not stream or call('EXISTS', stream) == 0 then return end
    local last = from ~= '' and from or last_handed_out(stream, group, paused, line)
    if not last or last == AT_END then return end
    for _, row in ipairs(call('XRANGE', stream, '(' .. last, '+', 'COUNT', left)) do
      found(part, row[1], names(unpacked(row[2])))
    end
  end,
  held = function(part, line, from, left)
    local stream = keys[PLACES[line]]
    if not stream or call('EXISTS', stream) == 0 or from == AT_END then return end
    local rows = try_call('XPENDING', stream, group, from == '' and '-' or '(' .. from, '+', left)
    for _, row in ipairs(rows.err and {} or rows) do
      found(part, row[1], {names(read(stream, row[1]) or {}), row[2]})
    end
  end,
  ended = function(part, line, from, left)
    local stream = keys[PLACES[line]]
    if from == '0-0' then return end
    for _, row in ipairs(call('XREVRANGE', stream, from == '' and '+' or '(' .. from, '-', 'COUNT', left)) do
      local short, body, whole = outlined(unpacked(row[2]), math.min(peek, FEW))
      found(part, row[1], {short, body, whole})
    end
  end,
  delayed = function(part, _, from, left)
    local key, first = keys[DELAYED], 0
    local score, member = string.match(from, '^(%d+) (.*)$')
    if score then -- the first that comes behind it, by score and name, whether it is still there or not
      local low, high = call('ZCOUNT', key, '-inf', '(' .. score), call('ZCOUNT', key, '-inf', score)
      while low < high do
        local middle = math.floor((low + high) / 2)
        if is_up_to(call('ZRANGE', key, middle, middle)[1], member) then low = middle + 1 else high = middle end
      end
      first = low
    end
    local rows = call('ZRANGE', key, first, first + left - 1, 'WITHSCORES')
    for i = 1, #rows - 1, 2 do found(part, int(tonumber(rows[i + 1]) or 0) .. ' ' .. rows[i], rows[i]) end
  end,
  lined = function(part, line, from, left)
    local first, behind = string.match(line, '^(.*)\n(.*)$')
    if from ~= '' then first = '(' .. from end
    for _, standing in ipairs(call('ZRANGEBYLEX', keys[LINES], first, behind, 'LIMIT', 0, left)) do
      found(part, standing, string.match(standing, '[^%z]*$'))
    end
  end,
  dependent = function(part, _, from, left) -- those of one step of a scan by their names: a small hash is one step
    local cursor, name = string.match(from, '^(%d+) (.*)$')
    cursor = cursor or '0'
    for _ = 1, 16 do
      local reply, fields = call('HSCAN', keys[DEPENDENTS], cursor, 'COUNT', STEP), {}
      for i = 1, #reply[2] - 1, 2 do
        if not name or not is_up_to(reply[2][i], name) then fields[#fields + 1] = reply[2][i] end
      end
      table.sort(fields, function(one, two) return one ~= two and is_up_to(one, two) end)
      for i = 1, math.min(left, #fields) do found(part, cursor .. ' ' .. fields[i], fields[i]) end
      if #fields >= left then return end
      left, cursor, name = left - #fields, reply[1], nil
      if cursor == '0' then return end
    end
    found(part, cursor .. ' ', '')
  end,
}

local from = ARGV[4]
for i = 6, #ARGV - 1, 2 do
  local left = count - #results
  if left <= 0 then break end
  parts[ARGV[i]]((i - 6) / 2, ARGV[i + 1], from, left)
  from = ''
end
return results
