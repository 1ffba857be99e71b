/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Branchy, indirect and call-heavy workloads; code generation in the guest. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* --- bytecode interpreter with computed goto: Collatz lengths ------------ */
enum { LDI, MOV, ADDI, ADD, MUL3, SHR1, AND1, JZ, JNZ, JLT, JMP, INC, HALT };
static uint64_t interp(void)
{
	static const void *const op[] = { &&ldi, &&mov, &&addi, &&add, &&mul3, &&shr1,
		&&and1, &&jz, &&jnz, &&jlt, &&jmp, &&inc, &&halt };
	/* r0=i r1=n r2=len r3=tmp r4=sum r5=limit */
	static const int16_t code[] = {
		LDI, 0, 2, LDI, 4, 0, LDI, 5, 400,
		/*9*/ MOV, 1, 0, LDI, 2, 0,
		/*15*/ MOV, 3, 1, ADDI, 3, -1, JZ, 3, 48,
		/*24*/ MOV, 3, 1, AND1, 3, 0, JNZ, 3, 39,
		/*33*/ SHR1, 1, 0, JMP, 0, 42,
		/*39*/ MUL3, 1, 0,
		/*42*/ INC, 2, 0, JMP, 0, 15,
		/*48*/ ADD, 4, 2, INC, 0, 0, JLT, 0, 9,
		/*57*/ HALT, 0, 0 };
	int64_t r[6] = { 0 };
	const int16_t *p = code;
#define NEXT goto *op[*p]
	NEXT;
ldi:	r[p[1]] = p[2]; p += 3; NEXT;
mov:	r[p[1]] = r[p[2]]; p += 3; NEXT;
addi:	r[p[1]] += p[2]; p += 3; NEXT;
add:	r[p[1]] += r[p[2]]; p += 3; NEXT;
mul3:	r[p[1]] = 3 * r[p[1]] + 1; p += 3; NEXT;
shr1:	r[p[1]] >>= 1; p += 3; NEXT;
and1:	r[p[1]] &= 1; p += 3; NEXT;
jz:	p = r[p[1]] ? p + 3 : code + p[2]; NEXT;
jnz:	p = r[p[1]] ? code + p[2] : p + 3; NEXT;
jlt:	p = r[p[1]] < r[5] ? code + p[2] : p + 3; NEXT;
jmp:	p = code + p[2]; NEXT;
inc:	r[p[1]]++; p += 3; NEXT;
halt:	return r[4];
}

/* --- calls through function pointers ------------------------------------- */
typedef uint64_t (*fn)(uint64_t);
#define F(n, e) __attribute__((noinline)) static uint64_t f##n(uint64_t x) { return e; }
F(0, x + 1) F(1, x * 3) F(2, x ^ x >> 7) F(3, x - 5) F(4, ~x) F(5, x << 1 | x >> 63)
F(6, x + (x >> 3)) F(7, x ^ 0x55) F(8, x * 5 + 1) F(9, x + 9) F(10, x - (x >> 5)) F(11, x ^ x << 9)
F(12, x | 1) F(13, x + 13) F(14, x * 7) F(15, x - 15)
static fn volatile const tab[16] = { f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15 };
static uint64_t vcall(void)
{
	uint64_t x = 1;
	for (int i = 0; i < 100000; i++)
		x = tab[(x >> 5) & 15](x + i);
	return x;
}
static uint64_t ptrcall(void)    /* one target: perfectly predictable */
{
	uint64_t x = 1;
	for (int i = 0; i < 100000; i++)
		x = tab[8](x);
	return x;
}

/* --- direct calls and returns -------------------------------------------- */
__attribute__((noinline)) static int fib(int n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}
static uint64_t rec(void) { return fib(23); }

/* --- switch through a jump table: tokenizer ------------------------------ */
static char src[32768];
static int tok_init(void)
{
	static const char s[] = "for (int i = 0; i < 100; i++) { a[i] = b->c * 3.14 + \"str\\n\"; /* c */ }\n";
	for (size_t i = 0; i < sizeof src; i++)
		src[i] = s[(i * (1 + i / 8192)) % (sizeof s - 1)];
	src[sizeof src - 1] = 0;
	return 0;
}
static uint64_t token(void)
{
	uint64_t h = 0;
	for (const char *p = src; *p; p++)
		switch (*p) {
		case ' ': h += 1; break;
		case '\n': h += 2; break;
		case '(': h = h * 3; break;
		case ')': h ^= 17; break;
		case '{': h += h >> 3; break;
		case '}': h -= 9; break;
		case '[': h ^= h << 5; break;
		case ']': h += 77; break;
		case '+': h++; break;
		case '-': h--; break;
		case '*': h *= 5; break;
		case '/': h ^= h >> 2; break;
		case '<': h += 3; break;
		case '>': h += 5; break;
		case '=': h ^= 0xff; break;
		case ';': h += 1000; break;
		case '"': h ^= 0xabcdef; break;
		case '0': case '1': case '2': case '3': case '4':
			h = h * 10 + *p; break;
		case 'a' ... 'm': h = h * 31 + *p; break;
		case 'n' ... 'z': h = h * 33 ^ *p; break;
		default: h += *p;
		}
	return h;
}

/* --- qsort with a callback ----------------------------------------------- */
enum { QN = 50000 };
static uint32_t q[QN];
static int cmp(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}
static uint64_t sort(void)
{
	uint64_t s = 17;
	for (int i = 0; i < QN; i++)
		q[i] = rng(&s);
	qsort(q, QN, sizeof *q, cmp);
	return mix(q[1], q[QN / 2]);
}

/* --- hash map with string keys, chained ----------------------------------- */
struct ent { struct ent *next; uint32_t h; char key[20]; int val; };
enum { HN = 16384 };
static struct ent *bucket[HN], *ents;
static int hash_init(void)
{
	return !(ents = malloc(sizeof *ents * 20000));
}
static uint32_t hs(const char *s)
{
	uint32_t h = 2166136261u;
	while (*s)
		h = (h ^ (unsigned char)*s++) * 16777619u;
	return h;
}
static uint64_t hash(void)
{
	uint64_t s = 23, sum = 0;
	int n = 0;
	memset(bucket, 0, sizeof bucket);
	for (int i = 0; i < 40000; i++) {
		char k[20] = "key";
		uint32_t v = rng(&s) % 20000;
		int l = 3;
		for (uint32_t t = v + 7; t; t /= 10)
			k[l++] = '0' + t % 10;
		uint32_t h = hs(k);
		struct ent *e;
		for (e = bucket[h % HN]; e; e = e->next)
			if (e->h == h && !strcmp(e->key, k))
				break;
		if (!e) {
			e = &ents[n++];
			strcpy(e->key, k);
			e->h = h; e->val = 0;
			e->next = bucket[h % HN];
			bucket[h % HN] = e;
		}
		sum += e->val++;
	}
	return mix(sum, n);
}

/* --- dependent loads ------------------------------------------------------ */
static uint32_t ring[16384];
static int chase_init(void)
{
	static uint32_t perm[16384];
	uint64_t s = 31;
	for (int i = 0; i < 16384; i++)
		perm[i] = i;
	for (int i = 16383; i; i--) {
		int j = rng(&s) % i;
		uint32_t t = perm[i]; perm[i] = perm[j]; perm[j] = t;
	}
	for (int i = 0; i < 16384; i++)
		ring[perm[i]] = perm[(i + 1) % 16384];
	return 0;
}
static uint64_t chase(void)
{
	uint32_t p = 0;
	for (int i = 0; i < 200000; i++)
		p = ring[p];
	return p;
}

/* --- new code every time: what a JIT, a loader or a big program does ------- */
enum { JF = 2000 };
static uint8_t *jit;
static int jit_init(void)
{
	jit = mmap(NULL, JF * 32, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return jit == MAP_FAILED;
}
static uint64_t newcode(void)
{
	/* 2000 functions of 6 instructions each, written then called twice */
	uint8_t *p = jit;
	for (int i = 0; i < JF; i++, p += 32) {
		static const uint8_t t[] = { 0x48, 0x89, 0xf8, 0x48, 0x05, 0, 0, 0, 0,
			0x48, 0xc1, 0xc0, 7, 0x48, 0x35, 0, 0, 0, 0, 0x48, 0x29, 0xf8, 0xc3 };
		memcpy(p, t, sizeof t);
		uint32_t v = i * 2654435761u & 0x7fffffff;
		memcpy(p + 5, &v, 4);
		memcpy(p + 15, &v, 4);
	}
	uint64_t x = 1;
	for (int r = 0; r < 2; r++)
		for (int i = 0; i < JF; i++)
			x ^= ((fn)(uintptr_t)(jit + i * 32))(x);
	return x;
}

const workload branch_workloads[] = {
	{ "branch", "interp", "it/s", 1, interp, NULL, NULL },
	{ "branch", "icall-16way", "Mcall/s", 0.1, vcall, NULL, NULL },
	{ "branch", "icall-1way", "Mcall/s", 0.1, ptrcall, NULL, NULL },
	{ "branch", "fib-callret", "it/s", 1, rec, NULL, NULL },
	{ "branch", "switch-token", "MB/s", 32768 / 1e6, token, tok_init, NULL },
	{ "branch", "qsort-cb", "it/s", 1, sort, NULL, NULL },
	{ "branch", "hashmap", "Kop/s", 40, hash, hash_init, NULL },
	{ "branch", "chase-64K", "Mload/s", 0.2, chase, chase_init, NULL },
	{ "branch", "newcode", "Kfunc/s", 2, newcode, jit_init, NULL },
	{ NULL, NULL, NULL, 0, NULL, NULL, NULL }
};
