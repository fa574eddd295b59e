-- Counts requests in moving windows, one key each: many windows in one round trip.
-- KEYS: one list for each request, of the times at which requests were allowed, newest first, in milliseconds.
-- ARGV: the window's length in milliseconds; then for each key its limit and how many requests to count, 0 to look only.
-- Returns four integers for each key: whether the requests are allowed, how many count now, in how many milliseconds
-- that many more would be allowed, and in how many the window is empty.

-- The server's clock is the only one that all replicas share. Servers before 7.0 only write after reading the clock if
-- told to replicate what was written instead of the script.
if redis.replicate_commands then redis.replicate_commands() end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local window = tonumber(ARGV[1])

-- Drops what is older than the window and returns how many entries are left. They are in order, so the first old one is
-- found by halving, and a large limit costs a few steps.
local function forget_old(key)
    local count = redis.call('LLEN', key)
    if count == 0 or redis.call('LINDEX', key, -1) + window > now then return count end
    local low, high = 0, count - 1
    while low < high do
        local middle = math.floor((low + high) / 2)
        if redis.call('LINDEX', key, middle) + window > now then low = middle + 1 else high = middle end
    end
    if low == 0 then redis.call('DEL', key) else redis.call('LTRIM', key, 0, low - 1) end
    return low
end

local replies = {}
for index, key in ipairs(KEYS) do
    local limit, amount = tonumber(ARGV[2 * index]), tonumber(ARGV[2 * index + 1])
    local count = forget_old(key)
    local allowed = count + amount <= limit
    if allowed and amount > 0 then
        for _ = 1, amount do redis.call('LPUSH', key, now) end
        redis.call('PEXPIRE', key, window)
        count = count + amount
    end
    -- The request that has to leave first, and the last one that will.
    local first = count > 0 and redis.call('LINDEX', key, math.max(0, math.min(count, limit) - 1)) or now - window
    local last = count > 0 and redis.call('LINDEX', key, 0) or now - window
    local at = 4 * (index - 1)
    replies[at + 1] = allowed and 1 or 0
    replies[at + 2] = count
    replies[at + 3] = first + window - now
    replies[at + 4] = last + window - now
end
return replies
