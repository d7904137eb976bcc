// SPDX-License-Identifier: MIT
// Copyright (c) 2026 the nearmalloc authors
//
// node work.js NAME ROUNDS: what node does outside of its own heap. Each piece
// looks at its results and throws when they are wrong.

'use strict';
const assert = require('assert');
const crypto = require('crypto');
const zlib = require('zlib');

let seed = 42;
const dice = (n) => (seed = (seed * 16807) % 2147483647) % n;

// Buffers of all sizes over a population, as streams and sockets make them.
function buffers(rounds) {
	const live = new Array(2000);

	for (let i = 0; i < rounds; i++) {
		const slot = dice(live.length);
		const old = live[slot];
		if (old)
			assert(old[0] === (slot & 255) && old[old.length - 1] === old[0]);
		live[slot] = Buffer.allocUnsafeSlow(1 + dice(dice(8) ? 4096 : 60000)).fill(slot & 255);
		if (i % 64 === 0)
			assert(Buffer.concat(live.filter(Boolean).slice(0, 16)).length > 0);
	}
}

// zlib and openssl allocate for every stream and every hash.
function streams(rounds) {
	for (let i = 0; i < rounds; i++) {
		const text = Buffer.from(`${i} of ${rounds}, `.repeat(1 + dice(400)));
		const packed = zlib.deflateRawSync(text, { level: 1 });
		assert(zlib.inflateRawSync(packed).equals(text));
		assert(crypto.createHash('sha256').update(packed).digest('hex').length === 64);
		assert(crypto.createHmac('sha1', 'key').update(text).digest().length === 20);
	}
}

({ buffers, streams })[process.argv[2]](Number(process.argv[3]));
