/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Floating point and vector workloads. */
#include "bench.h"
#include <math.h>
#include <string.h>
#include <immintrin.h>
#include <cpuid.h>

enum { N = 96 };
static double A[N][N], B[N][N], C[N][N];
static float SA[4096], SB[4096], SC[4096];
static uint8_t P1[65536], P2[65536], P3[65536];

static int init(void)
{
	uint64_t s = 5;
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++)
			A[i][j] = (i * 3 + j) * 0.01, B[i][j] = (i - j) * 0.02;
	for (int i = 0; i < 4096; i++)
		SA[i] = i * 0.5f, SB[i] = 1.0f / (i + 1);
	for (int i = 0; i < 65536; i++)
		P1[i] = rng(&s), P2[i] = rng(&s);
	return 0;
}
/* CPUID and XCR0, asked directly: the same answer the guest OS gives programs. */
static int have_avx2(void)
{
	unsigned a, b, c, d;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX) || !(c & bit_FMA))
		return 0;
	unsigned lo, hi;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	if ((lo & 6) != 6)
		return 0;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}
static int init_avx2(void)
{
	init();
	return !have_avx2();
}
static uint64_t dsum(double d)
{
	uint64_t u;
	memcpy(&u, &d, 8);
	return u;
}
static uint64_t csum(void)
{
	uint64_t h = 0;
	for (int i = 0; i < N; i++)
		h = mix(h, dsum(C[i][(i * 7) % N]));
	return h;
}

static uint64_t matmul(void)    /* scalar SSE2 double */
{
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++) {
			double s = 0;
			for (int k = 0; k < N; k++)
				s += A[i][k] * B[k][j];
			C[i][j] = s;
		}
	return csum();
}
static uint64_t matmul_sse2(void)    /* packed SSE2 double */
{
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j += 2) {
			__m128d s = _mm_setzero_pd();
			for (int k = 0; k < N; k++)
				s = _mm_add_pd(s, _mm_mul_pd(_mm_set1_pd(A[i][k]), _mm_loadu_pd(&B[k][j])));
			_mm_storeu_pd(&C[i][j], s);
		}
	return csum();
}
__attribute__((target("avx2,fma"))) static uint64_t matmul_avx2(void)
{
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j += 4) {
			__m256d s = _mm256_setzero_pd();
			for (int k = 0; k < N; k++)
				s = _mm256_fmadd_pd(_mm256_set1_pd(A[i][k]), _mm256_loadu_pd(&B[k][j]), s);
			_mm256_storeu_pd(&C[i][j], s);
		}
	return csum();
}
static uint64_t saxpy_sse(void)    /* packed single */
{
	for (int r = 0; r < 20; r++)
		for (int i = 0; i < 4096; i += 4)
			_mm_storeu_ps(SC + i, _mm_add_ps(_mm_mul_ps(_mm_loadu_ps(SA + i),
				_mm_set1_ps(1.5f + r)), _mm_loadu_ps(SB + i)));
	uint64_t h = 0;
	for (int i = 0; i < 4096; i += 61)
		h = mix(h, (uint64_t)(SC[i] * 1024));
	return h;
}

static uint64_t nbody(void)
{
	struct b { double x, y, z, vx, vy, vz, m; } b[5] = {
		{ 0, 0, 0, 0, 0, 0, 39.47 },
		{ 4.84, -1.16, -0.10, 0.60, 2.81, -0.02, 0.037 },
		{ 8.34, 4.12, -0.40, -1.01, 1.82, 0.008, 0.011 },
		{ 12.89, -15.11, -0.22, 1.08, 0.86, -0.01, 0.0017 },
		{ 15.37, -25.91, 0.17, 0.97, 0.59, -0.03, 0.002 } };
	for (int s = 0; s < 2000; s++) {
		for (int i = 0; i < 5; i++)
			for (int j = i + 1; j < 5; j++) {
				double dx = b[i].x - b[j].x, dy = b[i].y - b[j].y, dz = b[i].z - b[j].z;
				double d2 = dx * dx + dy * dy + dz * dz;
				double mag = 0.01 / (d2 * sqrt(d2));
				b[i].vx -= dx * b[j].m * mag; b[i].vy -= dy * b[j].m * mag; b[i].vz -= dz * b[j].m * mag;
				b[j].vx += dx * b[i].m * mag; b[j].vy += dy * b[i].m * mag; b[j].vz += dz * b[i].m * mag;
			}
		for (int i = 0; i < 5; i++)
			b[i].x += 0.01 * b[i].vx, b[i].y += 0.01 * b[i].vy, b[i].z += 0.01 * b[i].vz;
	}
	return mix(dsum(b[0].x), dsum(b[4].vz));
}
static uint64_t x87(void)    /* 80-bit long double */
{
	long double x = 0, y = 1, s = 0;
	for (int i = 1; i < 20000; i++) {
		x = x * 0.999L + 1.0L / i;
		y = y * 1.0001L - x * 0.00001L;
		s += x * y;
	}
	return dsum((double)s);
}
static uint64_t mandel(void)    /* scalar, compares and branches */
{
	uint64_t n = 0;
	for (int py = 0; py < 64; py++)
		for (int px = 0; px < 64; px++) {
			double cx = px / 24.0 - 2, cy = py / 28.0 - 1.15, x = 0, y = 0;
			int k;
			for (k = 0; k < 100 && x * x + y * y < 4; k++) {
				double t = x * x - y * y + cx;
				y = 2 * x * y + cy;
				x = t;
			}
			n += k;
		}
	return n;
}
static uint64_t cvt(void)    /* int <-> double conversions, min/max, compare */
{
	uint64_t h = 0, s = 11;
	for (int i = 0; i < 50000; i++) {
		double d = (double)(int32_t)rng(&s) * 0.00137;
		d = d > 1e6 ? 1e6 : d < -1e6 ? -1e6 : d;
		h = h * 31 + ((int64_t)d ^ (int32_t)((float)d * 3));
	}
	return h;
}
static uint64_t pix_sse2(void)    /* integer SSE2: blend, saturate, compare */
{
	__m128i z = _mm_setzero_si128();
	for (int r = 0; r < 4; r++)
		for (int i = 0; i < 65536; i += 16) {
			__m128i a = _mm_loadu_si128((void *)(P1 + i)), b = _mm_loadu_si128((void *)(P2 + i));
			__m128i lo = _mm_mullo_epi16(_mm_unpacklo_epi8(a, z), _mm_unpackhi_epi8(b, z));
			__m128i hi = _mm_mullo_epi16(_mm_unpackhi_epi8(a, z), _mm_unpacklo_epi8(b, z));
			__m128i m = _mm_packus_epi16(_mm_srli_epi16(lo, 8), _mm_srli_epi16(hi, 8));
			m = _mm_adds_epu8(m, _mm_and_si128(_mm_cmpeq_epi8(a, b), b));
			_mm_storeu_si128((void *)(P3 + i), _mm_avg_epu8(m, a));
		}
	uint64_t h = 0;
	for (int i = 0; i < 65536; i += 253)
		h = mix(h, P3[i]);
	return h;
}
__attribute__((target("avx2"))) static uint64_t pix_avx2(void)
{
	__m256i z = _mm256_setzero_si256();
	for (int r = 0; r < 4; r++)
		for (int i = 0; i < 65536; i += 32) {
			__m256i a = _mm256_loadu_si256((void *)(P1 + i)), b = _mm256_loadu_si256((void *)(P2 + i));
			__m256i lo = _mm256_mullo_epi16(_mm256_unpacklo_epi8(a, z), _mm256_unpackhi_epi8(b, z));
			__m256i hi = _mm256_mullo_epi16(_mm256_unpackhi_epi8(a, z), _mm256_unpacklo_epi8(b, z));
			__m256i m = _mm256_packus_epi16(_mm256_srli_epi16(lo, 8), _mm256_srli_epi16(hi, 8));
			m = _mm256_adds_epu8(m, _mm256_and_si256(_mm256_cmpeq_epi8(a, b), b));
			_mm256_storeu_si256((void *)(P3 + i), _mm256_avg_epu8(m, a));
		}
	uint64_t h = 0;
	for (int i = 0; i < 65536; i += 253)
		h = mix(h, P3[i]);
	return h;
}

const workload fp_workloads[] = {
	{ "fp", "matmul-scalar", "Mflop/s", 2.0 * N * N * N / 1e6, matmul, init, NULL },
	{ "fp", "matmul-sse2", "Mflop/s", 2.0 * N * N * N / 1e6, matmul_sse2, init, NULL },
	{ "fp", "matmul-avx2fma", "Mflop/s", 2.0 * N * N * N / 1e6, matmul_avx2, init_avx2, NULL },
	{ "fp", "saxpy-sse", "Mflop/s", 2.0 * 4096 * 20 / 1e6, saxpy_sse, init, NULL },
	{ "fp", "nbody", "Kstep/s", 2, nbody, init, NULL },
	{ "fp", "x87", "Kstep/s", 20, x87, init, NULL },
	{ "fp", "mandel", "it/s", 1, mandel, init, NULL },
	{ "fp", "convert", "Kop/s", 50, cvt, init, NULL },
	{ "fp", "pixel-sse2", "MB/s", 4 * 65536 / 1e6, pix_sse2, init, NULL },
	{ "fp", "pixel-avx2", "MB/s", 4 * 65536 / 1e6, pix_avx2, init_avx2, NULL },
	{ NULL, NULL, NULL, 0, NULL, NULL, NULL }
};
