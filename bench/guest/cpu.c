/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Integer workloads, plain C. Built without auto-vectorization. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <lzma.h>

/* --- sieve ------------------------------------------------------------ */
static unsigned char sv[1 << 20];
static uint64_t sieve(void)
{
	memset(sv, 1, sizeof sv);
	for (unsigned i = 1; 2 * i * (i + 1) < sizeof sv; i++)
		if (sv[i])
			for (unsigned j = 2 * i * (i + 1); j < sizeof sv; j += 2 * i + 1)
				sv[j] = 0;
	uint64_t n = 0;
	for (unsigned i = 1; i < sizeof sv; i++)
		n += sv[i];
	return n;
}

/* --- integer matrix --------------------------------------------------- */
enum { MN = 112 };
static int32_t ma[MN][MN], mb[MN][MN], mc[MN][MN];
static int mat_init(void)
{
	for (int i = 0; i < MN; i++)
		for (int j = 0; j < MN; j++)
			ma[i][j] = i * 7 + j, mb[i][j] = i - j * 3;
	return 0;
}
static uint64_t matint(void)
{
	for (int i = 0; i < MN; i++)
		for (int j = 0; j < MN; j++) {
			int32_t s = 0;
			for (int k = 0; k < MN; k++)
				s += ma[i][k] * mb[k][j];
			mc[i][j] = s;
		}
	uint64_t h = 0;
	for (int i = 0; i < MN; i++)
		h = mix(h, (uint32_t)mc[i][MN - 1 - i]);
	return h;
}

/* --- core: list, small matrix, state machine, crc ---------------------- */
struct node { struct node *next; int16_t key, val; };
static struct node pool[512];
static uint16_t crc16(uint16_t c, uint16_t v)
{
	for (int i = 0; i < 16; i++, v >>= 1)
		c = ((c ^ v) & 1) ? (c >> 1) ^ 0xa001 : c >> 1;
	return c;
}
static struct node *merge_sort(struct node *l, int n, int byval)
{
	if (n == 1) { l->next = NULL; return l; }
	struct node *m = l;
	for (int i = 0; i < n / 2; i++)
		m = m->next;
	struct node *b = m;
	struct node *a;
	{	/* split before sorting: remember b first */
		struct node *bs = merge_sort(b, n - n / 2, byval);
		a = l;
		a = merge_sort(a, n / 2, byval);
		b = bs;
	}
	struct node head, *t = &head;
	while (a && b) {
		int x = byval ? a->val : a->key, y = byval ? b->val : b->key;
		if (x <= y) { t->next = a; t = a; a = a->next; }
		else { t->next = b; t = b; b = b->next; }
	}
	t->next = a ? a : b;
	return head.next;
}
static int scan_numbers(const char *s, int counts[6])
{
	enum { START, SIGN, INT, FRAC, EXP, BAD } st = START;
	int n = 0;
	for (;; s++) {
		char c = *s;
		if (c == ',' || c == 0) {
			counts[st]++; st = START; n++;
			if (!c)
				return n;
			continue;
		}
		switch (st) {
		case START:
			if (c >= '0' && c <= '9') st = INT;
			else if (c == '+' || c == '-') st = SIGN;
			else if (c == '.') st = FRAC;
			else st = BAD;
			break;
		case SIGN:
			st = c >= '0' && c <= '9' ? INT : c == '.' ? FRAC : BAD; break;
		case INT:
			if (c == '.') st = FRAC;
			else if (c == 'e') st = EXP;
			else if (c < '0' || c > '9') st = BAD;
			break;
		case FRAC:
			if (c == 'e') st = EXP;
			else if (c < '0' || c > '9') st = BAD;
			break;
		case EXP:
			if (c != '-' && (c < '0' || c > '9')) st = BAD;
			break;
		case BAD: break;
		}
	}
}
static uint64_t core(void)
{
	static const char text[] = "5012,-1.5e3,+77,.5,abc,1234.56,7e-2,--3,0,999999,"
		"1.2.3,6e,3.14159265,-874,+.5e9,x1,55555,4.4e44,18,-1";
	uint16_t crc = 0xffff;
	uint64_t seed = 42;
	for (int r = 0; r < 6; r++) {
		for (int i = 0; i < 512; i++) {
			pool[i].key = rng(&seed);
			pool[i].val = rng(&seed);
			pool[i].next = i < 511 ? &pool[i + 1] : NULL;
		}
		struct node *l = merge_sort(pool, 512, 0);
		l = merge_sort(l, 512, 1);
		struct node *rev = NULL;
		for (int i = 0; l; i++) {
			struct node *n = l->next;
			l->next = rev; rev = l; l = n;
		}
		for (struct node *p = rev; p; p = p->next)
			crc = crc16(crc, p->key);
		int counts[6] = { 0 };
		for (int i = 0; i < 30; i++)
			crc = crc16(crc, scan_numbers(text, counts));
		for (int i = 0; i < 6; i++)
			crc = crc16(crc, counts[i]);
		int16_t a[12][12], s = 0;
		for (int i = 0; i < 12; i++)
			for (int j = 0; j < 12; j++)
				a[i][j] = i * j + r;
		for (int i = 0; i < 12; i++)
			for (int j = 0; j < 12; j++)
				for (int k = 0; k < 12; k++)
					s += a[i][k] * a[k][j] >> 2;
		crc = crc16(crc, s);
	}
	return crc;
}

/* --- sha256 ------------------------------------------------------------ */
static uint8_t shabuf[256 << 10];
static int sha_init(void)
{
	uint64_t s = 1;
	for (size_t i = 0; i < sizeof shabuf; i++)
		shabuf[i] = rng(&s);
	return 0;
}
static const uint32_t K[64] = {
0x428a2f98,0x71374491,0xb5c0fbcf,0xe9b5dba5,0x3956c25b,0x59f111f1,0x923f82a4,0xab1c5ed5,
0xd807aa98,0x12835b01,0x243185be,0x550c7dc3,0x72be5d74,0x80deb1fe,0x9bdc06a7,0xc19bf174,
0xe49b69c1,0xefbe4786,0x0fc19dc6,0x240ca1cc,0x2de92c6f,0x4a7484aa,0x5cb0a9dc,0x76f988da,
0x983e5152,0xa831c66d,0xb00327c8,0xbf597fc7,0xc6e00bf3,0xd5a79147,0x06ca6351,0x14292967,
0x27b70a85,0x2e1b2138,0x4d2c6dfc,0x53380d13,0x650a7354,0x766a0abb,0x81c2c92e,0x92722c85,
0xa2bfe8a1,0xa81a664b,0xc24b8b70,0xc76c51a3,0xd192e819,0xd6990624,0xf40e3585,0x106aa070,
0x19a4c116,0x1e376c08,0x2748774c,0x34b0bcb5,0x391c0cb3,0x4ed8aa4a,0x5b9cca4f,0x682e6ff3,
0x748f82ee,0x78a5636f,0x84c87814,0x8cc70208,0x90befffa,0xa4506ceb,0xbef9a3f7,0xc67178f2 };
#define R(x, n) ((x) >> (n) | (x) << (32 - (n)))
static uint64_t sha256(void)
{
	uint32_t h[8] = { 0x6a09e667,0xbb67ae85,0x3c6ef372,0xa54ff53a,
		0x510e527f,0x9b05688c,0x1f83d9ab,0x5be0cd19 };
	for (const uint8_t *p = shabuf; p < shabuf + sizeof shabuf; p += 64) {
		uint32_t w[64], v[8];
		for (int i = 0; i < 16; i++)
			w[i] = (uint32_t)p[4*i] << 24 | p[4*i+1] << 16 | p[4*i+2] << 8 | p[4*i+3];
		for (int i = 16; i < 64; i++)
			w[i] = w[i-16] + w[i-7] + (R(w[i-15],7) ^ R(w[i-15],18) ^ w[i-15] >> 3)
				+ (R(w[i-2],17) ^ R(w[i-2],19) ^ w[i-2] >> 10);
		memcpy(v, h, sizeof v);
		for (int i = 0; i < 64; i++) {
			uint32_t t1 = v[7] + (R(v[4],6) ^ R(v[4],11) ^ R(v[4],25))
				+ ((v[4] & v[5]) ^ (~v[4] & v[6])) + K[i] + w[i];
			uint32_t t2 = (R(v[0],2) ^ R(v[0],13) ^ R(v[0],22))
				+ ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
			v[7] = v[6]; v[6] = v[5]; v[5] = v[4]; v[4] = v[3] + t1;
			v[3] = v[2]; v[2] = v[1]; v[1] = v[0]; v[0] = t1 + t2;
		}
		for (int i = 0; i < 8; i++)
			h[i] += v[i];
	}
	return (uint64_t)h[0] << 32 | h[7];
}

/* --- 1024-bit Montgomery arithmetic (mul/adc) --------------------------- */
enum { BW = 16 };
typedef unsigned __int128 u128;
static uint64_t bmod[BW], bbase[BW], bninv;
static int mod_init(void)
{
	uint64_t s = 7;
	for (int i = 0; i < BW; i++)
		bmod[i] = rng(&s), bbase[i] = rng(&s);
	bmod[0] |= 1;
	bmod[BW - 1] |= 1ull << 63;
	bbase[BW - 1] >>= 1;
	uint64_t x = 1;
	for (int i = 0; i < 6; i++)
		x *= 2 - bmod[0] * x;
	bninv = -x;
	return 0;
}
static void montmul(uint64_t *r, const uint64_t *a, const uint64_t *b)
{
	uint64_t t[BW + 2] = { 0 };
	for (int i = 0; i < BW; i++) {
		u128 c = 0;
		for (int j = 0; j < BW; j++) {
			c += (u128)a[j] * b[i] + t[j];
			t[j] = c; c >>= 64;
		}
		c += t[BW]; t[BW] = c; t[BW + 1] = c >> 64;
		uint64_t m = t[0] * bninv;
		c = ((u128)m * bmod[0] + t[0]) >> 64;
		for (int j = 1; j < BW; j++) {
			c += (u128)m * bmod[j] + t[j];
			t[j - 1] = c; c >>= 64;
		}
		c += t[BW]; t[BW - 1] = c; c >>= 64;
		t[BW] = t[BW + 1] + (uint64_t)c;
	}
	if (t[BW]) {
		uint64_t bor = 0;
		for (int i = 0; i < BW; i++) {
			u128 d = (u128)t[i] - bmod[i] - bor;
			t[i] = d; bor = (d >> 64) & 1;
		}
	}
	memcpy(r, t, BW * 8);
}
static uint64_t modmul(void)
{
	uint64_t r[BW];
	memcpy(r, bbase, sizeof r);
	for (int i = 0; i < 2000; i++)
		montmul(r, r, i & 1 ? bbase : r);
	uint64_t h = 0;
	for (int i = 0; i < BW; i++)
		h = mix(h, r[i]);
	return h;
}

/* --- 64-bit division ---------------------------------------------------- */
static uint64_t gcd(void)
{
	uint64_t s = 99, h = 0;
	for (int i = 0; i < 5000; i++) {
		uint64_t a = rng(&s), b = rng(&s) | 1;
		while (b) { uint64_t t = a % b; a = b; b = t; }
		h += a;
	}
	return h;
}

/* --- compression -------------------------------------------------------- */
enum { TXT = 512 << 10 };
static uint8_t *txt, *zb, *xb, *ob;
static size_t zn, xn;
static void gen_text(uint8_t *p, size_t n)
{
	static const char *const w[] = { "the ", "machine ", "page ", "table ", "of ",
		"register ", "is ", "guest ", "in ", "a ", "memory ", "0x", "return ",
		"if (", "int ", ");\n", "struct ", "->", "for ", "and ", "block ",
		"translation ", "interrupt ", "host ", "to ", "error: " };
	uint64_t s = 3;
	size_t i = 0;
	while (i < n) {
		uint64_t r = rng(&s);
		const char *t = w[(r >> 8) % 26];
		if ((r & 7) == 0) {
			for (int k = 0; k < 6 && i < n; k++, r >>= 4)
				p[i++] = "0123456789abcdef"[(r >> 16) & 15];
			continue;
		}
		while (*t && i < n)
			p[i++] = *t++;
	}
}
static int z_init(void)
{
	txt = malloc(TXT); ob = malloc(TXT);
	zb = malloc(TXT * 2); xb = malloc(TXT * 2);
	gen_text(txt, TXT);
	uLongf l = TXT * 2;
	if (compress2(zb, &l, txt, TXT, 6) != Z_OK)
		return 1;
	zn = l;
	xn = 0;
	return lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, txt, TXT, xb, &xn, TXT * 2) != LZMA_OK;
}
static uint64_t z_deflate(void)
{
	uLongf l = TXT * 2;
	compress2(zb, &l, txt, TXT, 6);
	return mix(l, adler32(1, zb, l));
}
static uint64_t z_inflate(void)
{
	uLongf l = TXT;
	uncompress(ob, &l, zb, zn);
	return mix(l, ob[l - 1] + ob[l / 2]);
}
static uint64_t x_enc(void)
{
	size_t n = 0;
	if (lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, txt, TXT, xb, &n, TXT * 2) != LZMA_OK)
		return 0;
	return mix(n, xb[n / 2]);
}
static uint64_t x_dec(void)
{
	uint64_t lim = UINT64_MAX;
	size_t ip = 0, op = 0;
	if (lzma_stream_buffer_decode(&lim, 0, NULL, xb, &ip, xn, ob, &op, TXT) != LZMA_OK)
		return 0;
	return mix(op, ob[op - 1] + ob[op / 2]);
}

const workload cpu_workloads[] = {
	{ "cpu", "sieve", "it/s", 1, sieve, NULL, NULL },
	{ "cpu", "matint", "Mmac/s", MN * MN * (double)MN / 1e6, matint, mat_init, NULL },
	{ "cpu", "core", "it/s", 1, core, NULL, NULL },
	{ "cpu", "sha256", "MB/s", (256 << 10) / 1e6, sha256, sha_init, NULL },
	{ "cpu", "modmul1024", "op/s", 2000, modmul, mod_init, NULL },
	{ "cpu", "gcd-div64", "op/s", 5000, gcd, NULL, NULL },
	{ "cpu", "deflate", "MB/s", TXT / 1e6, z_deflate, z_init, NULL },
	{ "cpu", "inflate", "MB/s", TXT / 1e6, z_inflate, z_init, NULL },
	{ "cpu", "lzma-enc", "MB/s", TXT / 1e6, x_enc, z_init, NULL },
	{ "cpu", "lzma-dec", "MB/s", TXT / 1e6, x_dec, z_init, NULL },
	{ NULL, NULL, NULL, 0, NULL, NULL, NULL }
};
