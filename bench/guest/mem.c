/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory workloads. */
#include "bench.h"
#include <string.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { SB = 64 << 20 };
static double *a, *b, *c;
static uint64_t *big;
static const size_t BIG = (256u << 20) / 8;

static void *grab(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	madvise(p, n, MADV_NOHUGEPAGE);    /* same page size everywhere */
	return p;
}
static int stream_init(void)
{
	a = grab(SB); b = grab(SB); c = grab(SB);
	if (!a || !b || !c)
		return 1;
	for (size_t i = 0; i < SB / 8; i++)
		a[i] = 0, b[i] = i & 1023, c[i] = 2;
	return 0;
}
static uint64_t copy(void)
{
	memcpy(a, b, SB);
	return (uint64_t)a[777];
}
static uint64_t fill(void)
{
	memset(a, 7, SB);
	return ((unsigned char *)a)[99];
}
static uint64_t triad(void)
{
	for (size_t i = 0; i < SB / 8; i++)
		a[i] = b[i] + 3.0 * c[i];
	return (uint64_t)a[777];
}
static uint64_t sum64(void)
{
	uint64_t s = 0;
	const uint64_t *p = (const uint64_t *)b;
	for (size_t i = 0; i < SB / 8; i++)
		s += p[i];
	return s;
}
static int big_init(void)
{
	big = grab(BIG * 8);
	if (!big)
		return 1;
	for (size_t i = 0; i < BIG; i++)
		big[i] = i;
	return 0;
}
static uint64_t rnd_read(void)
{
	uint64_t s = 77, h = 0;
	for (int i = 0; i < 200000; i++)
		h += big[rng(&s) & (BIG - 1)];
	return h;
}
static uint64_t rnd_write(void)
{
	uint64_t s = 78;
	for (int i = 0; i < 200000; i++)
		big[rng(&s) & (BIG - 1)] ^= s;
	return s;
}
static uint64_t stride4k(void)    /* one load a page over 256 MiB */
{
	uint64_t h = 0;
	for (size_t i = 0; i < BIG; i += 512)
		h += big[i + (i >> 12 & 511)];
	return h;
}

const workload mem_workloads[] = {
	{ "mem", "memcpy-64M", "MB/s", SB / 1e6, copy, stream_init, NULL },
	{ "mem", "memset-64M", "MB/s", SB / 1e6, fill, stream_init, NULL },
	{ "mem", "triad-64M", "MB/s", 3.0 * SB / 1e6, triad, stream_init, NULL },
	{ "mem", "sum64-64M", "MB/s", SB / 1e6, sum64, stream_init, NULL },
	{ "mem", "rand-read-256M", "Mop/s", 0.2, rnd_read, big_init, NULL },
	{ "mem", "rand-rmw-256M", "Mop/s", 0.2, rnd_write, big_init, NULL },
	{ "mem", "page-stride-256M", "Mop/s", 65536 / 1e6, stride4k, big_init, NULL },
	{ NULL, NULL, NULL, 0, NULL, NULL, NULL }
};
