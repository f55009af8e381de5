-- Read the slots of a group's statistics.
-- KEYS statistics, meta
-- ARGV the letter of a ring, how many ms one of its slots has, how many slots it has, how many of them to read, group
-- Returns the time in ms, how many messages are gone, how often the group was made again, then names of slots and what
-- is in them; none if another program has put something there.
local letter, length, size, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now, names, found = now_ms(), {'now', 'total'}, {}
local last = math.floor(now / length)
for ago = 0, count - 1 do names[#names + 1] = letter .. int((last - ago) % size) end
local texts = try_call('HMGET', KEYS[1], unpack(names))
for i, name in ipairs(texts.err and {} or names) do
  if texts[i] then
    found[#found + 1] = name
    found[#found + 1] = texts[i]
  end
end
local losses = try_call('HMGET', KEYS[2], 'gone:' .. ARGV[5], 'remade:' .. ARGV[5])
return {int(now), losses[1] or '', losses[2] or '', unpack(found)}
