/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Benchmark workloads: common definitions.
 *
 * Every workload repeats one fixed piece of work ("an iteration") until the
 * minimum time is over and reports work per second. Higher is better, always.
 * Each iteration returns a checksum that must be the same every time, and the
 * same in a guest as on the host: a fast wrong answer is caught.
 */
#ifndef BENCH_H
#define BENCH_H
#include <stddef.h>
#include <stdint.h>

typedef struct workload {
	const char *group, *name, *unit;
	double ops;                /* units of work in one iteration */
	uint64_t (*iter)(void);    /* one iteration; returns the checksum */
	int (*init)(void);         /* untimed set-up; non-zero = skip */
	void (*fini)(void);
} workload;

extern const workload cpu_workloads[], fp_workloads[], branch_workloads[],
	mem_workloads[], sys_workloads[], io_workloads[];

extern const char *opt_dir;    /* scratch directory (tmpfs) */
extern const char *opt_disk;   /* block device or file for the disk group */
extern const char *opt_host;   /* address of the host for the net group */
extern int opt_port;
extern const char *opt_self;   /* path of this program */
extern double opt_secs;

double now(void);
void die(const char *what);

static inline uint64_t mix(uint64_t h, uint64_t v)
{
	h ^= v + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2);
	return h * 0xff51afd7ed558ccdull;
}

static inline uint64_t rng(uint64_t *s)    /* xorshift64 */
{
	uint64_t x = *s;
	x ^= x << 13; x ^= x >> 7; x ^= x << 17;
	return *s = x;
}
#endif
