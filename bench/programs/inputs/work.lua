-- SPDX-License-Identifier: MIT
-- Copyright (c) 2026 the nearmalloc authors
--
-- lua work.lua NAME ROUNDS: pieces of work that mostly allocate. Each looks at
-- its results and raises an error when they are wrong.

local work = {}
local seed = 42

local function dice(n)
	seed = seed * 16807 % 2147483647
	return seed % n
end

-- Binary trees, short-lived ones beside one that stays.
function work.trees(rounds)
	local function tree(depth)
		if depth == 0 then return {} end
		return { left = tree(depth - 1), right = tree(depth - 1), depth = depth }
	end
	local function count(t)
		return t.depth and 1 + count(t.left) + count(t.right) or 1
	end
	local stays = tree(15)

	for i = 1, rounds do
		assert(count(tree(4 + i % 9)) == 2 ^ (5 + i % 9) - 1)
	end
	assert(count(stays) == 65535)
end

-- Strings are made, interned, matched, joined; closures and tables hold them.
function work.strings(rounds)
	local kept = {}

	for i = 1, rounds do
		local parts = {}
		for j = 1, 300 do
			local text = string.rep(string.char(97 + dice(26)), 1 + dice(60)) .. i .. ":" .. j
			parts[#parts + 1] = text:upper() .. "=" .. text
		end
		local all = table.concat(parts, ";")
		local n = 0
		for key, value in all:gmatch("([^=;]+)=([^;]+)") do
			assert(key:lower() == value)
			n = n + 1
		end
		assert(n == 300)
		kept[dice(500)] = { text = all:gsub("%d", "#"), get = function() return parts[dice(300) + 1] end }
	end
	for _, k in pairs(kept) do
		assert(not k.text:find("%d") and k.get():find("="))
	end
end

work[arg[1]](tonumber(arg[2]))
