/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rpcbench: drives a libvirt-compatible daemon through the libvirt client library.
 * rpcbench URI TEST [args]; prints "RPC name value unit [p50=.. p99=..]" lines. */
#define _GNU_SOURCE
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

static const char *uri;
static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}
static int cmpd(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}
static double pct(double *v, int n, double p)
{
	qsort(v, n, sizeof *v, cmpd);
	return n ? v[(int)((n - 1) * p)] : 0;
}
static virConnectPtr dial(void)
{
	virConnectPtr c = virConnectOpen(uri);
	if (!c) { fprintf(stderr, "cannot connect to %s\n", uri); exit(1); }
	return c;
}
static void quiet(void *u, virErrorPtr e) { (void)u; (void)e; }
static char *xml(const char *name, const char *kernel, const char *initrd, const char *append)
{
	char *s, os[2048] = "<type arch='x86_64' machine='pc'>hvm</type>";
	if (kernel)
		snprintf(os, sizeof os, "<type arch='x86_64' machine='pc'>hvm</type><kernel>%s</kernel>"
			 "<initrd>%s</initrd><cmdline>%s</cmdline>", kernel, initrd, append);
	if (asprintf(&s, "<domain type='qemu'><name>%s</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>"
		"<os>%s</os><features><acpi/><apic/></features><cpu mode='custom' match='exact'><model>qemu64</model></cpu>"
		"<clock offset='utc'/><on_reboot>destroy</on_reboot><devices>"
		"%s<interface type='user'><model type='virtio'/></interface>"
		"<serial type='pty'/><console type='pty'/></devices></domain>", name, os,
		kernel ? "" : "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
		"<source file='/var/lib/libvirt/images/none.qcow2'/><target dev='vda' bus='virtio'/></disk>") < 0)
		abort();
	return s;
}

static int one(virConnectPtr c, const char *what, const char *dom)
{
	if (!strcmp(what, "libversion")) {
		unsigned long v;
		return virConnectGetLibVersion(c, &v);
	}
	if (!strcmp(what, "lookup")) {
		virDomainPtr d = virDomainLookupByName(c, dom);
		if (!d) return -1;
		virDomainFree(d);
		return 0;
	}
	if (!strcmp(what, "info")) {
		static virDomainPtr d;
		virDomainInfo i;
		if (!d) d = virDomainLookupByName(c, dom);
		return d ? virDomainGetInfo(d, &i) : -1;
	}
	if (!strcmp(what, "xmldesc")) {
		static virDomainPtr d;
		if (!d) d = virDomainLookupByName(c, dom);
		char *x = d ? virDomainGetXMLDesc(d, 0) : NULL;
		free(x);
		return x ? 0 : -1;
	}
	if (!strcmp(what, "numdomains"))
		return virConnectNumOfDomains(c) < 0 ? -1 : 0;
	if (!strcmp(what, "capabilities")) {
		char *x = virConnectGetCapabilities(c);
		free(x);
		return x ? 0 : -1;
	}
	if (!strcmp(what, "connect")) {
		virConnectPtr k = virConnectOpen(uri);
		return k ? virConnectClose(k) : -1;
	}
	exit(2);
}
static void calls(const char *what, int clients, double secs, const char *dom)
{
	enum { MAXS = 200000 };
	struct sh { volatile int ready, go; long n[64]; double lat[MAXS]; int nl; } *s =
		mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < clients; i++)
		if (fork() == 0) {
			virConnectPtr c = dial();
			if (one(c, what, dom) < 0) {
				fprintf(stderr, "%s fails: %s\n", what, virGetLastErrorMessage());
				_exit(1);
			}
			__sync_fetch_and_add(&s->ready, 1);
			while (!s->go) usleep(100);
			double t0 = now(), t, u = t0;
			long n = 0;
			do {
				if (one(c, what, dom) < 0) _exit(1);
				t = now();
				if (i == 0 && s->nl < MAXS) s->lat[s->nl++] = t - u;
				u = t;
				n++;
			} while (t - t0 < secs);
			s->n[i] = n;
			virConnectClose(c);
			_exit(0);
		}
	double w = now();
	while (s->ready < clients && now() - w < 5) usleep(1000);
	double t0 = now();
	s->go = 1;
	int st, bad = 0;
	while (wait(&st) > 0) bad |= st;
	double t = now() - t0;
	long n = 0;
	for (int i = 0; i < clients; i++) n += s->n[i];
	if (bad)
		printf("FAIL %s x%d\n", what, clients);
	else
		printf("RPC %s-x%d %.6g call/s p50_us=%.1f p99_us=%.1f\n", what, clients, n / (t > secs ? t : secs),
		       1e6 * pct(s->lat, s->nl, .5), 1e6 * pct(s->lat, s->nl, .99));
}

/* events */
static volatile double ev_t;
static volatile int ev_n;
static int on_ev(virConnectPtr c, virDomainPtr d, int ev, int det, void *u)
{
	(void)c; (void)d; (void)ev; (void)det; (void)u;
	ev_t = now();
	__sync_synchronize();
	ev_n++;
	return 0;
}
static void *evloop(void *u)
{
	for (;;) virEventRunDefaultImpl();
	return u;
}

int main(int argc, char **argv)
{
	if (argc < 3) return 2;
	uri = argv[1];
	const char *t = argv[2];
	virSetErrorFunc(NULL, quiet);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(t, "ping")) {                     /* one connection, one call */
		virConnectPtr c = virConnectOpen(uri);
		return !c || one(c, "libversion", "") < 0;
	}
	if (!strcmp(t, "call"))                       /* call WHAT CLIENTS SECS [DOMAIN] */
		calls(argv[3], atoi(argv[4]), atof(argv[5]), argc > 6 ? argv[6] : "bench-0");
	else if (!strcmp(t, "define") || !strcmp(t, "undefine")) {    /* FROM TO */
		virConnectPtr c = dial();
		int a = atoi(argv[3]), b = atoi(argv[4]);
		double t0 = now();
		for (int i = a; i < b; i++) {
			char n[32];
			snprintf(n, sizeof n, "bench-%d", i);
			if (*t == 'd') {
				char *x = xml(n, NULL, NULL, NULL);
				virDomainPtr d = virDomainDefineXML(c, x);
				free(x);
				if (!d) { fprintf(stderr, "define: %s\n", virGetLastErrorMessage()); return 1; }
				virDomainFree(d);
			} else {
				virDomainPtr d = virDomainLookupByName(c, n);
				if (d) { virDomainUndefine(d); virDomainFree(d); }
			}
		}
		printf("RPC %s-%d..%d %.6g dom/s\n", t, a, b, (b - a) / (now() - t0));
	} else if (!strcmp(t, "list") || !strcmp(t, "stats")) {       /* N = expected count, label */
		virConnectPtr c = dial();
		double lat[10000], t0 = now(), u;
		int n = 0, got = 0;
		do {
			u = now();
			if (*t == 'l') {
				virDomainPtr *d;
				got = virConnectListAllDomains(c, &d, 0);
				for (int i = 0; i < got; i++) virDomainFree(d[i]);
				free(d);
			} else {
				virDomainStatsRecordPtr *r;
				got = virConnectGetAllDomainStats(c, 0, &r, 0);
				if (got >= 0) virDomainStatsRecordListFree(r);
			}
			lat[n++] = now() - u;
		} while (now() - t0 < 1.5 && n < 10000);
		printf("RPC %s-all-%d %.6g ms p99_ms=%.3g\n", t, got, 1e3 * pct(lat, n, .5), 1e3 * pct(lat, n, .99));
	} else if (!strcmp(t, "defundef")) {          /* SECS */
		virConnectPtr c = dial();
		double t0 = now(), secs = atof(argv[3]);
		int n = 0;
		char *x = xml("bench-du", NULL, NULL, NULL);
		do {
			virDomainPtr d = virDomainDefineXML(c, x);
			if (!d || virDomainUndefine(d)) { fprintf(stderr, "%s\n", virGetLastErrorMessage()); return 1; }
			virDomainFree(d);
			n++;
		} while (now() - t0 < secs);
		printf("RPC define+undefine %.6g op/s\n", n / (now() - t0));
	} else if (!strcmp(t, "startdestroy")) {      /* N KERNEL INITRD APPEND */
		virConnectPtr c = dial();
		int n = atoi(argv[3]);
		double a[1000], b[1000];
		char *x = xml("bench-sd", argv[4], argv[5], argv[6]);
		virDomainPtr d = virDomainDefineXML(c, x);
		if (!d) { fprintf(stderr, "%s\n", virGetLastErrorMessage()); return 1; }
		for (int i = 0; i < n; i++) {
			double t0 = now();
			if (virDomainCreate(d)) { fprintf(stderr, "start: %s\n", virGetLastErrorMessage()); virDomainUndefine(d); return 1; }
			double t1 = now();
			if (virDomainDestroy(d)) { fprintf(stderr, "destroy: %s\n", virGetLastErrorMessage()); return 1; }
			a[i] = t1 - t0; b[i] = now() - t1;
		}
		virDomainUndefine(d);
		double amin = pct(a, n, 0), amax = pct(a, n, 1), bmin = pct(b, n, 0), bmax = pct(b, n, 1);
		printf("RPC start %.6g ms min=%.4g max=%.4g\nRPC destroy %.6g ms min=%.4g max=%.4g\n",
		       1e3 * pct(a, n, .5), 1e3 * amin, 1e3 * amax, 1e3 * pct(b, n, .5), 1e3 * bmin, 1e3 * bmax);
	} else if (!strcmp(t, "event")) {             /* N: define -> DEFINED event on another connection */
		virEventRegisterDefaultImpl();
		pthread_t th;
		virConnectPtr c = dial(), e = dial();
		if (virConnectDomainEventRegisterAny(e, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
						     VIR_DOMAIN_EVENT_CALLBACK(on_ev), NULL, NULL) < 0) return 1;
		pthread_create(&th, NULL, evloop, NULL);
		int n = atoi(argv[3]);
		double a[5000], b[5000];
		char *x = xml("bench-ev", NULL, NULL, NULL);
		for (int i = 0; i < n; i++) {
			int k = ev_n;
			double t0 = now();
			virDomainPtr d = virDomainDefineXML(c, x);
			double t1 = now();
			if (!d) { fprintf(stderr, "%s\n", virGetLastErrorMessage()); return 1; }
			while (ev_n == k && now() - t1 < 5) usleep(20);
			a[i] = ev_t - t0;         /* from the call to the event */
			b[i] = ev_t - t1;         /* event against the call's return */
			k = ev_n;
			virDomainUndefine(d);
			virDomainFree(d);
			for (double w = now(); ev_n == k && now() - w < 5; ) usleep(20);
		}
		double p99 = pct(a, n, .99);
		printf("RPC event-after-call %.6g us p99_us=%.4g\nRPC event-after-return %.6g us\n",
		       1e6 * pct(a, n, .5), 1e6 * p99, 1e6 * pct(b, n, .5));
	} else
		return 2;
	fflush(stdout);
	_exit(0);
}
