-- The oldest failed tasks that the limits do not keep. They are deleted by their entries in a second step.
-- KEYS the keys of the group
-- ARGV how long one is kept (ms) and how many are, each '' for no limit; how many to return at most
-- Returns for each: its entry, 1 if it is too old, else 0, and of its fields `id`, `_id` and `name`
local failed, found = KEYS[FAILED], {}
local ttl, keep, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local surplus = keep and call('XLEN', failed) - keep or 0
local STEP, from = 16, '-'
while #found < most do
  local rows = call('XRANGE', failed, from, '+', 'COUNT', STEP)
  for _, row in ipairs(rows) do
    local is_old = ttl and tonumber(string.match(row[1], '^%d+')) <= now_ms() - ttl
    if #found == most or not is_old and #found >= surplus then return found end
    local fields, short = unpacked(row[2]), {}
    for _, name in ipairs({'id', '_id', 'name'}) do
      local value = field(fields, name)
      if value then
        short[#short + 1] = name
        short[#short + 1] = string.sub(value, 1, 1000)
      end
    end
    found[#found + 1] = {row[1], is_old and 1 or 0, short}
    from = '(' .. row[1]
  end
  if #rows < STEP then break end
end
return found
