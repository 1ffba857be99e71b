/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stub.c - gdb's remote serial protocol (GDB manual, appendix E): packets "$...#xx", of which each
 * is acknowledged. The machine stands still while gdb looks at it; breakpoints are int3 in guest
 * memory, or the debug registers that the accelerator gives us.
 */
#include "vmm/gdb/stub.h"

#include "base/str.h"
#include "vmm/accel/vcpu.h"
#include "vmm/char/chardev.h"
#include "vmm/gdb/target.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_PACKET = 4096,
    MAX_SOFT = 256,
    MAX_HARD = 4,
    CTRL_C = 3,
    SIGNAL_INT = 2,
    SIGNAL_TRAP = 5,
    INT3 = 0xcc,
    EXCEPTION_DB = 1,
    EXCEPTION_BP = 3,
};

enum parse { P_IDLE, P_BODY, P_SUM1, P_SUM2 };

struct soft {
    uint64_t at;
    uint8_t was;
};

/* kind: as in DR7, 0 execution, 1 write, 3 access. */
struct hard {
    uint64_t at;
    unsigned kind, len;
};

struct gdb_stub {
    struct machine *m;
    struct chardev *chr; /* borrowed */
    struct chardev_frontend fe;
    struct machine_listener listener;
    enum parse state;
    char packet[MAX_PACKET + 1];
    size_t len;
    uint8_t sum;
    bool no_ack, connected;
    bool running; /* gdb waits for the guest to stop */
    unsigned current; /* the vCPU that registers are asked of */
    int stepping;     /* -1: none */
    struct soft soft[MAX_SOFT];
    unsigned n_soft;
    struct hard hard[MAX_HARD];
    unsigned n_hard;
};

/* ---- packets ---- */

static int from_hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F'                                ? c - 'A' + 10
                                                                 : -1;
}

static void send_packet(struct gdb_stub *g, const char *body)
{
    uint8_t sum = 0;
    char tail[8];

    for (const char *p = body; *p != '\0'; p++) {
        sum = (uint8_t)(sum + (uint8_t)*p);
    }
    (void)snprintf(tail, sizeof(tail), "#%02x", sum);
    chardev_write(g->chr, "$", 1);
    chardev_write(g->chr, body, strlen(body));
    chardev_write(g->chr, tail, 3);
}

static void send_hex(struct gdb_stub *g, const uint8_t *data, size_t len)
{
    char text[MAX_PACKET * 2 + 1];

    for (size_t i = 0; i < len; i++) {
        (void)snprintf(text + i * 2, 3, "%02x", data[i]);
    }
    text[len * 2] = '\0';
    send_packet(g, text);
}

static void answer(struct gdb_stub *g, bool good)
{
    send_packet(g, good ? "OK" : "E14");
}

/* Bytes of hexadecimal text; how many. */
static size_t parse_hex(const char *text, uint8_t *to, size_t max)
{
    size_t n = 0;

    while (n < max && from_hex(text[0]) >= 0 && from_hex(text[1]) >= 0) {
        to[n++] = (uint8_t)(from_hex(text[0]) << 4 | from_hex(text[1]));
        text += 2;
    }
    return n;
}

static struct vcpu *current(struct gdb_stub *g)
{
    return &g->m->vcpus[g->current];
}

/* ---- stopping and going on ---- */

static void tell_stop(struct gdb_stub *g, unsigned signal, const char *why)
{
    char text[96];

    (void)snprintf(text, sizeof(text), "T%02xthread:%02x;%s", signal, g->current + 1, why);
    g->running = false;
    send_packet(g, text);
}

/* What a CPU has to watch for. */
static void arm(struct gdb_stub *g, bool on)
{
    for (unsigned i = 0; i < g->m->n_vcpus; i++) {
        struct kvm_guest_debug d = { .control = 0 };

        if (on && (g->n_soft > 0 || g->n_hard > 0 || g->stepping == (int)i)) {
            d.control = KVM_GUESTDBG_ENABLE | (g->n_soft > 0 ? KVM_GUESTDBG_USE_SW_BP : 0) |
                        (g->n_hard > 0 ? KVM_GUESTDBG_USE_HW_BP : 0) |
                        (g->stepping == (int)i ? KVM_GUESTDBG_SINGLESTEP : 0);
        }
        for (unsigned k = 0; on && k < g->n_hard; k++) {
            static const uint8_t lengths[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };

            d.arch.debugreg[k] = g->hard[k].at;
            d.arch.debugreg[7] |= 2ull << (k * 2) | (uint64_t)g->hard[k].kind << (16 + k * 4) |
                                  (uint64_t)lengths[g->hard[k].len] << (18 + k * 4);
        }
        d.arch.debugreg[7] |= on && g->n_hard > 0 ? 0x600 : 0;
        (void)vcpu_request(&g->m->vcpus[i], KVM_SET_GUEST_DEBUG, &d);
    }
}

static void go_on(struct gdb_stub *g)
{
    CLEANUP(err_freep) struct err *err = NULL;

    arm(g, true);
    g->running = true;
    if (machine_run(g->m, &err) < 0) {
        tell_stop(g, SIGNAL_INT, "");
    }
}

/* A CPU has hit something; the machine stands. */
static void on_debug(void *arg, unsigned index)
{
    struct gdb_stub *g = arg;
    const struct kvm_run *run = g->m->vcpus[index].run;
    char why[48] = "";

    g->current = index;
    for (unsigned k = 0; run->debug.arch.exception == EXCEPTION_DB && k < g->n_hard; k++) {
        if ((run->debug.arch.dr6 >> k & 1) != 0 && g->hard[k].kind != 0) {
            (void)snprintf(why, sizeof(why), "%s:%llx;", g->hard[k].kind == 1 ? "watch" : "awatch",
                           (unsigned long long)g->hard[k].at);
        }
    }
    g->stepping = -1;
    if (g->connected) {
        tell_stop(g, SIGNAL_TRAP, why);
    }
}

/* An int3 of the guest's own is the guest's. Called on the CPU's thread. */
static bool is_ours(void *arg, const struct kvm_debug_exit_arch *e)
{
    const struct gdb_stub *g = arg;

    if (e->exception != EXCEPTION_BP) {
        return true;
    }
    for (unsigned i = 0; i < g->n_soft; i++) {
        if (g->soft[i].at == e->pc) {
            return true;
        }
    }
    return false;
}

/* Somebody else has stopped the machine. */
static void on_machine(void *arg, const char *name, const char *json)
{
    struct gdb_stub *g = arg;

    (void)json;
    if (str_eq(name, "STOP") && g->running && g->connected && g->m->state != RUN_DEBUG) {
        tell_stop(g, SIGNAL_INT, "");
    }
}

/* ---- breakpoints ---- */

static bool soft_set(struct gdb_stub *g, uint64_t at)
{
    uint8_t code = INT3;
    struct soft *s = &g->soft[g->n_soft];

    if (g->n_soft == MAX_SOFT || !gdb_memory(current(g), at, &s->was, 1, false) ||
        !gdb_memory(current(g), at, &code, 1, true)) {
        return false;
    }
    s->at = at;
    g->n_soft++;
    return true;
}

static bool soft_clear(struct gdb_stub *g, uint64_t at)
{
    for (unsigned i = 0; i < g->n_soft; i++) {
        if (g->soft[i].at == at) {
            bool good = gdb_memory(current(g), at, &g->soft[i].was, 1, true);

            g->soft[i] = g->soft[--g->n_soft];
            return good;
        }
    }
    return false;
}

/* "Z1,addr,len" and the like. */
static void breakpoint(struct gdb_stub *g, const char *p)
{
    static const unsigned kinds[] = { [1] = 0, [2] = 1, [3] = 3, [4] = 3 };
    unsigned type = 9;
    unsigned long long at;
    unsigned len;
    bool set = p[0] == 'Z';

    if (sscanf(p + 1, "%u,%llx,%x", &type, &at, &len) != 3 || type > 4) {
        send_packet(g, "");
        return;
    }
    if (type == 0) {
        answer(g, set ? soft_set(g, at) : soft_clear(g, at));
        return;
    }
    len = type == 1 ? 1 : len;
    if (len != 1 && len != 2 && len != 4 && len != 8) {
        answer(g, false);
        return;
    }
    if (set) {
        if (g->n_hard == MAX_HARD) {
            send_packet(g, "E28"); /* no more of them */
            return;
        }
        g->hard[g->n_hard++] = (struct hard) { .at = at, .kind = kinds[type], .len = len };
        answer(g, true);
        return;
    }
    for (unsigned i = 0; i < g->n_hard; i++) {
        if (g->hard[i].at == at && g->hard[i].kind == kinds[type] && g->hard[i].len == len) {
            g->hard[i] = g->hard[--g->n_hard];
            answer(g, true);
            return;
        }
    }
    answer(g, false);
}

/* ---- commands ---- */

static void memory(struct gdb_stub *g, const char *p)
{
    uint8_t buf[MAX_PACKET / 2];
    unsigned long long at;
    unsigned long long len;
    const char *data = strchr(p, ':');

    if (sscanf(p + 1, "%llx,%llx", &at, &len) != 2 || len > sizeof(buf)) {
        answer(g, false);
    } else if (p[0] == 'm') {
        if (gdb_memory(current(g), at, buf, len, false)) {
            send_hex(g, buf, len);
        } else {
            answer(g, false);
        }
    } else {
        answer(g, data != NULL && parse_hex(data + 1, buf, len) == len &&
                      gdb_memory(current(g), at, buf, len, true));
    }
}

static void registers(struct gdb_stub *g, const char *p)
{
    uint8_t buf[GDB_ALL_BYTES];
    const char *eq = strchr(p, '=');
    unsigned n = 0;
    size_t len;

    switch (p[0]) {
    case 'g':
        send_hex(g, buf, gdb_get_registers(current(g), buf));
        break;
    case 'G':
        len = parse_hex(p + 1, buf, sizeof(buf));
        answer(g, gdb_set_registers(current(g), buf, len));
        break;
    case 'p':
        len = sscanf(p + 1, "%x", &n) == 1 ? gdb_get_register(current(g), n, buf) : 0;
        if (len > 0) {
            send_hex(g, buf, len);
        } else {
            answer(g, false);
        }
        break;
    default:
        len = eq != NULL && sscanf(p + 1, "%x", &n) == 1 ? parse_hex(eq + 1, buf, 16) : 0;
        answer(g, len > 0 && gdb_set_register(current(g), n, buf, len));
        break;
    }
}

/* "target.xml:OFFSET,LENGTH" */
static void features(struct gdb_stub *g, const char *p)
{
    const char *xml = gdb_target_xml();
    size_t size = strlen(xml);
    char text[MAX_PACKET];
    unsigned at;
    unsigned len;

    if (!str_starts(p, "target.xml:") || sscanf(p + 11, "%x,%x", &at, &len) != 2) {
        send_packet(g, "E00");
        return;
    }
    at = at < size ? at : (unsigned)size;
    len = len < sizeof(text) - 2 ? len : sizeof(text) - 2;
    len = len < size - at ? len : (unsigned)(size - at);
    (void)snprintf(text, sizeof(text), "%c%.*s", at + len < size ? 'm' : 'l', (int)len, xml + at);
    send_packet(g, text);
}

static void query(struct gdb_stub *g, const char *p)
{
    char text[64];

    if (str_starts(p, "qSupported")) {
        send_packet(g, "PacketSize=1000;qXfer:features:read+;vContSupported+;hwbreak+;swbreak+;"
                       "QStartNoAckMode+");
    } else if (str_starts(p, "qXfer:features:read:")) {
        features(g, p + 20);
    } else if (str_eq(p, "qC")) {
        (void)snprintf(text, sizeof(text), "QC%02x", g->current + 1);
        send_packet(g, text);
    } else if (str_eq(p, "qfThreadInfo")) {
        struct strbuf list = STRBUF_INIT(MAX_PACKET);
        AUTO_FREE char *all = NULL;

        for (unsigned i = 0; i < g->m->n_vcpus; i++) {
            strbuf_printf(&list, "%s%02x", i == 0 ? "m" : ",", i + 1);
        }
        all = strbuf_take(&list);
        send_packet(g, all != NULL ? all : "l");
    } else if (str_eq(p, "qsThreadInfo")) {
        send_packet(g, "l");
    } else if (str_starts(p, "qThreadExtraInfo,")) {
        unsigned id = (unsigned)strtoul(p + 17, NULL, 16);
        size_t len = (size_t)snprintf(text, sizeof(text), "CPU#%u", id > 0 ? id - 1 : 0);

        send_hex(g, (const uint8_t *)text, len);
    } else if (str_eq(p, "qAttached")) {
        send_packet(g, "1");
    } else {
        send_packet(g, "");
    }
}

static void select_thread(struct gdb_stub *g, const char *p)
{
    long id = strtol(p, NULL, 16);

    if (id > 0 && id <= (long)g->m->n_vcpus) {
        g->current = (unsigned)id - 1;
    }
    answer(g, id <= (long)g->m->n_vcpus);
}

/* "vCont;s:2;c": the CPU that steps, all others run. */
static void resume(struct gdb_stub *g, const char *p)
{
    const char *step = strstr(p, ";s");

    if (step == NULL) {
        step = strstr(p, ";S");
    }
    g->stepping = -1;
    if (step != NULL) {
        const char *colon = strchr(step + 1, ':');
        long id = colon != NULL ? strtol(colon + 1, NULL, 16) : (long)g->current + 1;

        g->stepping = id > 0 && id <= (long)g->m->n_vcpus ? (int)id - 1 : (int)g->current;
    }
    go_on(g);
}

static void detach(struct gdb_stub *g)
{
    while (g->n_soft > 0) {
        (void)soft_clear(g, g->soft[0].at);
    }
    g->n_hard = 0;
    g->stepping = -1;
}

static void run_command(struct gdb_stub *g)
{
    const char *p = g->packet;

    switch (p[0]) {
    case '?':
        tell_stop(g, SIGNAL_TRAP, "");
        break;
    case 'g':
    case 'G':
    case 'p':
    case 'P':
        registers(g, p);
        break;
    case 'm':
    case 'M':
        memory(g, p);
        break;
    case 'Z':
    case 'z':
        breakpoint(g, p);
        break;
    case 'H':
        select_thread(g, p + 2);
        break;
    case 'T':
        answer(g, strtol(p + 1, NULL, 16) <= (long)g->m->n_vcpus);
        break;
    case 'c':
        g->stepping = -1;
        go_on(g);
        break;
    case 's':
        g->stepping = (int)g->current;
        go_on(g);
        break;
    case 'v':
        if (str_eq(p, "vCont?")) {
            send_packet(g, "vCont;c;C;s;S");
        } else if (str_starts(p, "vCont;")) {
            resume(g, p);
        } else {
            send_packet(g, "");
        }
        break;
    case 'q':
        query(g, p);
        break;
    case 'Q':
        if (str_eq(p, "QStartNoAckMode")) {
            answer(g, true);
            g->no_ack = true;
        } else {
            send_packet(g, "");
        }
        break;
    case 'D':
        detach(g);
        answer(g, true);
        go_on(g);
        g->running = false;
        break;
    case 'k':
        machine_request_shutdown(g->m, CAUSE_HOST_QMP_QUIT);
        break;
    default:
        send_packet(g, "");
        break;
    }
}

/* ---- the line ---- */

static void take_byte(struct gdb_stub *g, char c)
{
    switch (g->state) {
    case P_IDLE:
        if (c == '$') {
            g->state = P_BODY;
            g->len = 0;
            g->sum = 0;
        } else if (c == CTRL_C && g->m->state == RUN_RUNNING) {
            machine_pause(g->m, RUN_PAUSED); /* whose event tells gdb */
        }
        break;
    case P_BODY:
        if (c == '#') {
            g->packet[g->len] = '\0';
            g->state = P_SUM1;
        } else if (g->len < MAX_PACKET) {
            g->packet[g->len++] = c;
            g->sum = (uint8_t)(g->sum + (uint8_t)c);
        } else {
            g->state = P_IDLE;
        }
        break;
    case P_SUM1:
        g->sum = (uint8_t)(g->sum - ((unsigned)(from_hex(c) & 15) << 4));
        g->state = P_SUM2;
        break;
    case P_SUM2:
        g->state = P_IDLE;
        if (g->sum != (uint8_t)(from_hex(c) & 15)) {
            chardev_write(g->chr, "-", 1);
            break;
        }
        if (!g->no_ack) {
            chardev_write(g->chr, "+", 1);
        }
        if (g->m->state != RUN_RUNNING) {
            run_command(g);
        }
        break;
    }
}

static size_t on_can_receive(void *arg)
{
    (void)arg;
    return MAX_PACKET;
}

static void on_receive(void *arg, const uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        take_byte(arg, (char)buf[i]);
    }
}

static void on_event(void *arg, enum chardev_event event)
{
    struct gdb_stub *g = arg;

    if (event == CHARDEV_OPENED) {
        g->connected = true;
        g->no_ack = g->running = false;
        g->state = P_IDLE;
        if (g->m->state == RUN_RUNNING) { /* it looks at a machine that stands still */
            machine_pause(g->m, RUN_PAUSED);
        }
    } else if (event == CHARDEV_CLOSED) {
        g->connected = false;
    }
}

int gdb_open(struct machine *m, const char *at, struct gdb_stub **ret, struct err **err)
{
    struct gdb_stub *g = calloc(1, sizeof(*g));
    AUTO_FREE char *text =
        str_starts(at, "tcp:") && strstr(at, ",server") == NULL ? str_format("%s,server=on,wait=off", at)
                                                                : strdup(at);
    int r;

    if (g == NULL || text == NULL) {
        free(g);
        return err_set(err, ENOMEM, "no memory");
    }
    g->m = m;
    g->stepping = -1;
    g->fe = (struct chardev_frontend) {
        .can_receive = on_can_receive, .receive = on_receive, .event = on_event, .arg = g
    };
    *ret = g;
    machine_listen(m, &g->listener, on_machine, g);
    m->debug = (struct machine_debug) { .stopped = on_debug, .is_ours = is_ours, .arg = g };
    r = chardev_add_short(m, text, "gdb", &g->chr, err);
    if (r == 0 && g->chr == NULL) {
        r = err_set(err, EINVAL, "'%s' is no device to listen on", at);
    }
    if (r == 0) {
        r = chardev_attach(g->chr, &g->fe, err);
    }
    if (r < 0) {
        g->chr = NULL;
        err_prefix(err, "-gdb: ");
    }
    return r;
}

struct gdb_stub *gdb_close(struct gdb_stub *g)
{
    if (g != NULL) {
        machine_unlisten(&g->listener);
        g->m->debug = (struct machine_debug) { .arg = NULL };
        if (g->chr != NULL) {
            chardev_detach(g->chr, &g->fe);
        }
        free(g);
    }
    return NULL;
}
