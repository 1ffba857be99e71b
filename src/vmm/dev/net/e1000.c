/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * e1000.c - the 82540EM and 82574L gigabit cards ("e1000", "e1000e") with what drivers use of them:
 * legacy and extended descriptors, checksum and TCP segmentation of sent frames, EEPROM, PHY,
 * interrupt throttling left to the bus (PCI/PCI-X Family of Gigabit Ethernet Controllers SDM;
 * 82574 data sheet). One queue each way; the 82574's interrupts by INTx, MSI or MSI-X.
 */
#include "base/bytes.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/net/netdev.h"
#include "vmm/net/nic.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    MMIO_BYTES = 0x20000,
    N_REGS = 0x8000 / 4,
    EEPROM_WORDS = 64,

    CTRL = 0x0000,
    STATUS = 0x0008,
    CTRL_EXT = 0x0018,
    EECD = 0x0010,
    EERD = 0x0014,
    MDIC = 0x0020,
    ICR = 0x00c0,
    ICS = 0x00c8,
    IMS = 0x00d0,
    IMC = 0x00d8,
    EIAC = 0x00dc,
    IAM = 0x00e0,
    IVAR = 0x00e4,
    RCTL = 0x0100,
    TCTL = 0x0400,
    RDBAL = 0x2800,
    RDBAH = 0x2804,
    RDLEN = 0x2808,
    RDH = 0x2810,
    RDT = 0x2818,
    TDBAL = 0x3800,
    TDBAH = 0x3804,
    TDLEN = 0x3808,
    TDH = 0x3810,
    TDT = 0x3818,
    RFCTL = 0x5008,
    MTA = 0x5200,
    RAL0 = 0x5400,
    RAH0 = 0x5404,
    VFTA = 0x5600,
    SWSM = 0x5b50,
    FWSM = 0x5b54,
    EXTCNF_CTRL = 0x0f00,

    CTRL_RESET = 1u << 26,
    CTRL_PHY_RESET = 1u << 31,
    CTRL_LINK_UP = 1u << 6,
    EXT_EIAME = 1 << 24,
    EXT_IAME = 1 << 27,
    INT_TX_DONE = 1,
    INT_TX_EMPTY = 2,
    INT_LINK = 4,
    INT_RX_LOW = 0x10,
    INT_RX_OVERRUN = 0x40,
    INT_RX_TIMER = 0x80,
    INT_MDIO = 0x200,
    INT_RXQ0 = 1 << 20,
    INT_TXQ0 = 1 << 22,
    INT_OTHER = 1 << 24,
    RCTL_ENABLE = 2,
    RCTL_UNICAST = 8,
    RCTL_MULTICAST = 0x10,
    RCTL_BROADCAST = 0x8000,
    RCTL_STRIP_CRC = 1 << 26,
    RFCTL_EXTENDED = 0x8000,
    TCTL_ENABLE = 2,

    TX_EOP = 1 << 24,
    TX_RS = 1 << 27,
    TX_DEXT = 1 << 29,
    TX_TSE = 1 << 26,
    TX_TYPE_DATA = 1 << 20,
    POPTS_IP = 1,
    POPTS_TCP = 2,
    TUCMD_TCP = 1,
    TUCMD_IP = 2,
    TUCMD_TSE = 4,

    MAX_TX = 65536 + 1024,
    MIN_FRAME = 60,
};

struct context {
    uint8_t ipcss, ipcso, tucss, tucso, tucmd, hdrlen;
    uint16_t ipcse, tucse, mss;
    uint32_t paylen;
};

struct e1000 {
    struct pci_dev pd;
    char *netdev_id, *mac_text;
    bool autonegotiation, mitigation;
    struct netdev *nd;
    uint8_t mac[NIC_MAC_BYTES];
    bool is_82574;
    uint32_t reg[N_REGS];
    uint16_t phy[32];
    uint16_t eeprom[EEPROM_WORDS];
    /* The EEPROM's serial interface (82540EM). */
    uint32_t ee_shift, ee_bits, ee_address, ee_reading;
    struct context ctx;
    uint8_t popts;
    bool tse;
    uint32_t tx_len;
    bool rx_starved, tx_blocked, kick_posted;
    uint8_t tx[MAX_TX];
};

static const struct opt e1000_opts[] = {
    OPT_STR(struct e1000, netdev_id, "netdev", NULL, "network back end"),
    OPT_STR(struct e1000, mac_text, "mac", NULL, "address; default 52:54:00:12:34:56 and up"),
    OPT_BOOL(struct e1000, autonegotiation, "autonegotiation", "on", "accepted"),
    OPT_BOOL(struct e1000, mitigation, "mitigation", "on", "accepted"),
    OPT_END,
};

#define R(e, off) ((e)->reg[(off) / 4])

/* ---- interrupts ---- */

/* MSI-X vectors of causes (82574 data sheet, 10.2.4.9). Sending one clears and masks the causes of
 * EIAC (10.2.4.7): drivers do not read ICR then. */
static void send_msix(struct e1000 *e, uint32_t causes)
{
    static const struct {
        uint32_t cause;
        unsigned shift;
    } map[] = { { INT_RXQ0, 0 }, { INT_TXQ0, 8 }, { INT_OTHER, 16 } };

    for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
        uint32_t entry = R(e, IVAR) >> map[i].shift & 0xf;

        if ((causes & map[i].cause) != 0 && (entry & 8) != 0) {
            uint32_t clear = R(e, EIAC) & map[i].cause;

            pci_msix_send(&e->pd, entry & 7);
            R(e, ICR) &= ~clear;
            if ((R(e, CTRL_EXT) & EXT_EIAME) != 0) {
                R(e, IMS) &= ~(R(e, IAM) & map[i].cause);
            }
            if ((R(e, CTRL_EXT) & EXT_IAME) == 0) {
                R(e, IMS) &= ~clear;
            }
        }
    }
}

static void update_irq(struct e1000 *e)
{
    bool level = (R(e, ICR) & R(e, IMS)) != 0;

    if (!pci_msix_enabled(&e->pd)) {
        if (pci_msi_enabled(&e->pd)) {
            pci_set_interrupt(&e->pd, level);
        } else {
            pci_set_intx(&e->pd, level);
        }
    }
}

static void raise(struct e1000 *e, uint32_t causes)
{
    if (e->is_82574) {
        causes |= (causes & INT_RX_TIMER) != 0 ? INT_RXQ0 : 0;
        causes |= (causes & (INT_TX_DONE | INT_TX_EMPTY)) != 0 ? INT_TXQ0 : 0;
        causes |= (causes & INT_LINK) != 0 ? INT_OTHER : 0;
    }
    R(e, ICR) |= causes;
    if (pci_msix_enabled(&e->pd)) {
        send_msix(e, causes & R(e, IMS));
    }
    update_irq(e);
}

/* ---- sending ---- */

static uint16_t checksum(const uint8_t *p, size_t len, uint32_t sum)
{
    for (size_t i = 0; i + 1 < len; i += 2) {
        sum += be16_get(p + i);
    }
    if ((len & 1) != 0) {
        sum += (uint32_t)p[len - 1] << 8;
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

static void put_checksum(uint8_t *frame, size_t len, size_t at, size_t from, size_t end)
{
    if (end == 0 || end >= len) {
        end = len - 1;
    }
    if (from <= end && at + 2 <= len) {
        be16_put(frame + at, checksum(frame + from, end - from + 1, 0));
    }
}

/* false: the back end is full. */
static bool send_frame(struct e1000 *e, uint8_t *frame, size_t len)
{
    struct iovec iov;

    if (len < MIN_FRAME) {
        memset(frame + len, 0, MIN_FRAME - len);
        len = MIN_FRAME;
    }
    iov = (struct iovec) { .iov_base = frame, .iov_len = len };
    (void)e->nd->cls->send(e->nd, &iov, 1);
    return true;
}

/* TCP segmentation: the header, repeated with lengths, ids, sequence numbers and flags made right.
 */
static void send_segments(struct e1000 *e)
{
    const struct context *c = &e->ctx;
    uint8_t frame[16384];
    size_t header = c->hdrlen;
    size_t payload = e->tx_len > header ? e->tx_len - header : 0;
    size_t done = 0;
    unsigned n = 0;
    bool ipv4 = (c->tucmd & TUCMD_IP) != 0;
    bool tcp = (c->tucmd & TUCMD_TCP) != 0;

    if (c->mss == 0 || header + c->mss > sizeof(frame) || header < 14 || header > e->tx_len ||
        c->ipcss + 20u > header || c->tucss + (tcp ? 20u : 8u) > header) {
        return;
    }
    do {
        size_t part = payload - done < c->mss ? payload - done : c->mss;
        size_t len = header + part;
        bool last = done + part >= payload;
        uint8_t *ip = frame + c->ipcss;
        uint8_t *l4 = frame + c->tucss;

        memcpy(frame, e->tx, header);
        memcpy(frame + header, e->tx + header + done, part);
        if (ipv4) {
            be16_put(ip + 2, (uint16_t)(len - c->ipcss));
            be16_put(ip + 4, (uint16_t)(be16_get(ip + 4) + n));
        } else {
            be16_put(ip + 4, (uint16_t)(len - c->ipcss - 40));
        }
        if (tcp) {
            be32_put(l4 + 4, be32_get(l4 + 4) + (uint32_t)done);
            if (!last) {
                l4[13] &= (uint8_t) ~(1 | 8); /* FIN, PSH */
            }
        } else {
            be16_put(l4 + 4, (uint16_t)(len - c->tucss));
        }
        if ((e->popts & POPTS_TCP) != 0 && c->tucso + 2u <= len) {
            /* The pseudo header's sum lacks the length. */
            uint32_t sum = be16_get(frame + c->tucso) + (uint32_t)(len - c->tucss);

            while (sum >> 16 != 0) {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            be16_put(frame + c->tucso, (uint16_t)sum);
            put_checksum(frame, len, c->tucso, c->tucss, c->tucse);
        }
        if ((e->popts & POPTS_IP) != 0) {
            put_checksum(frame, len, c->ipcso, c->ipcss, c->ipcse);
        }
        (void)send_frame(e, frame, len);
        done += part;
        n++;
    } while (done < payload);
}

static void end_of_packet(struct e1000 *e)
{
    if (e->tx_len > 0 && e->nd != NULL) {
        if (e->tse) {
            send_segments(e);
        } else {
            if ((e->popts & POPTS_TCP) != 0) {
                put_checksum(e->tx, e->tx_len, e->ctx.tucso, e->ctx.tucss, e->ctx.tucse);
            }
            if ((e->popts & POPTS_IP) != 0) {
                put_checksum(e->tx, e->tx_len, e->ctx.ipcso, e->ctx.ipcss, e->ctx.ipcse);
            }
            (void)send_frame(e, e->tx, e->tx_len);
        }
    }
    e->tx_len = 0;
    e->popts = 0;
    e->tse = false;
}

static void take_context(struct e1000 *e, const uint8_t *d)
{
    uint32_t cmd = le32_get(d + 8);

    e->ctx = (struct context) {
        .ipcss = d[0],
        .ipcso = d[1],
        .ipcse = le16_get(d + 2),
        .tucss = d[4],
        .tucso = d[5],
        .tucse = le16_get(d + 6),
        .paylen = cmd & 0xfffff,
        .tucmd = (uint8_t)(cmd >> 24),
        .hdrlen = d[13],
        .mss = le16_get(d + 14),
    };
}

static void take_descriptor(struct e1000 *e, const uint8_t *d)
{
    uint32_t cmd = le32_get(d + 8);
    uint32_t len;
    const void *p;

    if ((cmd & TX_DEXT) != 0 && (cmd & 0xf00000) == 0) {
        take_context(e, d);
        return;
    }
    if ((cmd & TX_DEXT) != 0) {
        len = cmd & 0xfffff;
        if (e->tx_len == 0) {
            e->popts = d[13];
            e->tse = (cmd & TX_TSE) != 0;
        }
    } else {
        len = cmd & 0xffff;
    }
    p = gmem_map(&e->pd.dev.m->mem, le64_get(d), len, false);
    if (p != NULL && len <= MAX_TX - MIN_FRAME - e->tx_len) {
        memcpy(e->tx + e->tx_len, p, len);
        e->tx_len += len;
    }
    if ((cmd & TX_EOP) != 0) {
        end_of_packet(e);
    }
}

static void transmit(struct e1000 *e)
{
    uint64_t base = (uint64_t)R(e, TDBAH) << 32 | R(e, TDBAL);
    uint32_t n = R(e, TDLEN) / 16;
    uint32_t causes = INT_TX_EMPTY;
    uint32_t limit = n;

    if ((R(e, TCTL) & TCTL_ENABLE) == 0 || n == 0) {
        return;
    }
    while (R(e, TDH) != R(e, TDT) && limit-- > 0) {
        uint64_t at = base + (uint64_t)(R(e, TDH) % n) * 16;
        uint8_t d[16];
        uint32_t cmd;

        if (gmem_read(&e->pd.dev.m->mem, at, d, sizeof(d)) < 0) {
            break;
        }
        take_descriptor(e, d);
        cmd = le32_get(d + 8);
        if ((cmd & TX_RS) != 0) {
            uint8_t done = d[12] | 1;

            (void)!gmem_write(&e->pd.dev.m->mem, at + 12, &done, 1);
            causes |= INT_TX_DONE;
        }
        R(e, TDH) = (R(e, TDH) + 1) % n;
    }
    raise(e, causes);
}

/* ---- receiving ---- */

static uint32_t buffer_size(const struct e1000 *e)
{
    uint32_t rctl = R(e, RCTL);
    unsigned size = rctl >> 16 & 3;
    bool extended = (rctl & 1 << 25) != 0;
    static const uint16_t sizes[2][4] = { { 2048, 1024, 512, 256 }, { 0, 16384, 8192, 4096 } };

    if (e->is_82574 && (rctl >> 27 & 0xf) != 0) {
        return (rctl >> 27 & 0xf) * 1024;
    }
    return sizes[extended][size] != 0 ? sizes[extended][size] : 2048;
}

static uint32_t free_descriptors(const struct e1000 *e)
{
    uint32_t n = R(e, RDLEN) / 16;

    return n == 0 ? 0 : (R(e, RDT) % n + n - R(e, RDH) % n) % n;
}

static bool wants(const struct e1000 *e, const uint8_t *frame)
{
    static const unsigned shifts[4] = { 4, 3, 2, 0 };
    uint32_t rctl = R(e, RCTL);
    uint32_t hash;

    if ((rctl & RCTL_UNICAST) != 0 && (frame[0] & 1) == 0) {
        return true;
    }
    if (memcmp(frame, "\xff\xff\xff\xff\xff\xff", 6) == 0) {
        return (rctl & RCTL_BROADCAST) != 0;
    }
    for (unsigned i = 0; i < 16; i++) {
        uint32_t high = e->reg[(RAH0 + i * 8) / 4];
        uint8_t address[8];

        le32_put(address, e->reg[(RAL0 + i * 8) / 4]);
        le32_put(address + 4, high);
        if ((high & 1u << 31) != 0 && memcmp(frame, address, 6) == 0) {
            return true;
        }
    }
    if ((frame[0] & 1) == 0) {
        return false;
    }
    if ((rctl & RCTL_MULTICAST) != 0) {
        return true;
    }
    hash = (uint32_t)((frame[5] << 8 | frame[4]) >> shifts[rctl >> 12 & 3]) & 0xfff;
    return (e->reg[MTA / 4 + (hash >> 5)] >> (hash & 31) & 1) != 0;
}

static bool put_frame(struct e1000 *e, const uint8_t *frame, size_t len)
{
    struct gmem *mem = &e->pd.dev.m->mem;
    uint64_t base = (uint64_t)R(e, RDBAH) << 32 | R(e, RDBAL);
    uint32_t n = R(e, RDLEN) / 16;
    uint32_t size = buffer_size(e);
    size_t total = len + ((R(e, RCTL) & RCTL_STRIP_CRC) != 0 ? 0 : 4);
    size_t done = 0;
    bool extended = e->is_82574 && (R(e, RFCTL) & RFCTL_EXTENDED) != 0;

    if ((uint64_t)free_descriptors(e) * size < total || n == 0) {
        return false;
    }
    while (done < total) {
        uint64_t at = base + (uint64_t)(R(e, RDH) % n) * 16;
        uint8_t d[16];
        size_t part = total - done < size ? total - done : size;
        size_t copy = done < len ? (len - done < part ? len - done : part) : 0;
        bool last = done + part >= total;
        uint64_t buffer;

        if (gmem_read(mem, at, d, sizeof(d)) < 0) {
            break;
        }
        buffer = le64_get(d);
        if (buffer != 0 && copy > 0) {
            (void)!gmem_write(mem, buffer, frame + done, copy);
        }
        if (extended) {
            memset(d, 0, sizeof(d));
            le32_put(d + 8, last ? 3 : 1); /* done, end of packet */
            le16_put(d + 12, (uint16_t)part);
        } else {
            le16_put(d + 8, (uint16_t)part);
            le16_put(d + 10, 0);
            d[12] = (uint8_t)(1 | (last ? 2 : 0) | 4); /* done, end, no checksum checked */
            d[13] = 0;
            le16_put(d + 14, 0);
        }
        (void)!gmem_write(mem, at, d, sizeof(d));
        R(e, RDH) = (R(e, RDH) + 1) % n;
        done += part;
    }
    raise(e, INT_RX_TIMER);
    return true;
}

static bool e1000_receive(void *arg, const uint8_t *frame, size_t len)
{
    struct e1000 *e = arg;
    uint8_t padded[MIN_FRAME] = { 0 };

    if ((R(e, RCTL) & RCTL_ENABLE) == 0 || len < 14 || !wants(e, frame)) {
        return true;
    }
    if (len < MIN_FRAME) {
        memcpy(padded, frame, len);
        frame = padded;
        len = MIN_FRAME;
    }
    if (!put_frame(e, frame, len)) {
        e->rx_starved = true;
        return false;
    }
    return true;
}

/* The queues are worked on the loop, where the back end lives. */
static void kick(void *arg)
{
    struct e1000 *e = arg;

    e->kick_posted = false;
    transmit(e);
    if (e->rx_starved && free_descriptors(e) > 0 && e->nd != NULL) {
        e->rx_starved = false;
        e->nd->cls->resume(e->nd);
    }
}

static void post_kick(struct e1000 *e)
{
    if (e->pd.dev.m->loop == NULL) {
        kick(e);
    } else if (!e->kick_posted) {
        e->kick_posted = loop_post(e->pd.dev.m->loop, kick, e) == 0;
    }
}

/* ---- registers ---- */

/* The serial EEPROM: opcode and address in, 16 bits out (Microwire). */
static void eecd_write(struct e1000 *e, uint32_t v)
{
    uint32_t old = R(e, EECD);

    R(e, EECD) = v & 0x47; /* clock, select, data in, request */
    if ((v & 2) == 0) {    /* not selected */
        e->ee_bits = e->ee_shift = 0;
        e->ee_reading = 0;
        return;
    }
    if ((v & 1) == 0 && (old & 1) != 0 && e->ee_reading != 0) { /* falling clock: the next bit */
        e->ee_address++;
    } else if ((v & 1) != 0 && (old & 1) == 0 && e->ee_reading == 0) {
        e->ee_shift = e->ee_shift << 1 | ((v & 4) != 0 ? 1 : 0);
        if (++e->ee_bits == 9 && (e->ee_shift >> 6 & 7) == 6) {
            e->ee_address = (e->ee_shift & 0x3f) * 16 - 1;
            e->ee_reading = 1;
        }
    }
}

static uint32_t eecd_read(const struct e1000 *e)
{
    uint32_t v = R(e, EECD) | 0x100 | ((R(e, EECD) & 0x40) != 0 ? 0x80 : 0);

    if (e->ee_reading != 0) {
        uint32_t word = e->ee_address >> 4 & 0x3f;

        if ((e->eeprom[word] >> (15 - (e->ee_address & 15)) & 1) != 0) {
            v |= 8;
        }
    } else {
        v |= 8;
    }
    return v;
}

static void mdic_write(struct e1000 *e, uint32_t v)
{
    unsigned reg = v >> 16 & 0x1f;

    if ((v >> 21 & 0x1f) != 1) {
        v |= 1u << 30; /* no such PHY */
    } else if ((v & 2u << 26) != 0) {
        v = (v & ~0xffffu) | e->phy[reg];
    } else {
        if (reg == 0) {
            v &= ~0x8200u; /* reset and restart are done at once */
        }
        if (reg != 1 && reg != 2 && reg != 3 && reg != 17) {
            e->phy[reg] = (uint16_t)v;
        }
    }
    R(e, MDIC) = v | 1u << 28;
    if ((v & 1u << 29) != 0) {
        raise(e, INT_MDIO);
    }
}

static void reset_registers(struct e1000 *e)
{
    static const struct {
        unsigned reg;
        uint16_t v;
    } phy[] = {
        { 0, 0x1140 },  { 1, 0x796d },  { 2, 0x0141 },  { 3, 0x0c20 },  { 4, 0x0de1 },
        { 5, 0x01e0 },  { 6, 0x0000 },  { 9, 0x0e00 },  { 10, 0x3c00 }, { 15, 0x3000 },
        { 16, 0x0360 }, { 17, 0xac00 }, { 20, 0x0d60 },
    };

    memset(e->reg, 0, sizeof(e->reg));
    memset(e->phy, 0, sizeof(e->phy));
    for (size_t i = 0; i < sizeof(phy) / sizeof(phy[0]); i++) {
        e->phy[phy[i].reg] = phy[i].v;
    }
    if (e->is_82574) {
        e->phy[3] = 0x0cb1;
        R(e, EXTCNF_CTRL) = 0x8;
    }
    R(e, CTRL) = 0x00140240;
    R(e, STATUS) = 0x80080783;
    R(e, RAL0) = le32_get(e->mac);
    R(e, RAH0) = le16_get(e->mac + 4) | 1u << 31;
    e->tx_len = 0;
    e->tse = false;
    e->popts = 0;
    e->rx_starved = false;
    update_irq(e);
}

static uint64_t e1000_read(void *dev, uint64_t off, unsigned size)
{
    struct e1000 *e = dev;
    uint32_t v;

    (void)size;
    if (off >= N_REGS * 4) {
        return 0;
    }
    switch (off) {
    case EECD:
        return eecd_read(e);
    case EERD: {
        uint32_t r = R(e, EERD);
        uint32_t word = e->is_82574 ? r >> 2 & 0x3fff : r >> 8 & 0xff;

        if ((r & 1) == 0) {
            return r;
        }
        return (r & 0xffff & ~1u) | (e->is_82574 ? 2 : 0x10) |
               (uint32_t)(word < EEPROM_WORDS ? e->eeprom[word] : 0) << 16;
    }
    case ICR:
        v = R(e, ICR);
        if (v != 0 && (v & R(e, IMS)) != 0) {
            v |= 1u << 31;
        }
        R(e, ICR) = 0;
        update_irq(e);
        return v;
    case SWSM:
        v = R(e, SWSM);
        R(e, SWSM) |= 1;
        return v;
    default:
        return off >= 0x4000 && off < 0x4200 ? 0 : e->reg[off / 4];
    }
}

static void e1000_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct e1000 *e = dev;
    uint32_t v = (uint32_t)value;

    if (off >= N_REGS * 4 || size != 4) {
        return;
    }
    switch (off) {
    case CTRL:
        if ((v & CTRL_RESET) != 0) {
            reset_registers(e);
            break;
        }
        R(e, CTRL) = v & ~(CTRL_PHY_RESET);
        if ((v & CTRL_LINK_UP) != 0 && (v & CTRL_PHY_RESET) != 0) {
            raise(e, INT_LINK);
        }
        break;
    case STATUS:
        break;
    case EECD:
        eecd_write(e, v);
        break;
    case MDIC:
        mdic_write(e, v);
        break;
    case ICR:
        R(e, ICR) &= ~v;
        update_irq(e);
        break;
    case ICS:
        raise(e, v);
        break;
    case IMS:
        R(e, IMS) |= v;
        if (pci_msix_enabled(&e->pd)) {
            send_msix(e, R(e, ICR) & v);
        }
        update_irq(e);
        break;
    case IMC:
        R(e, IMS) &= ~v;
        update_irq(e);
        break;
    case RCTL:
    case RDT:
    case TDT:
    case TCTL:
        e->reg[off / 4] = v;
        post_kick(e);
        break;
    case RDH:
    case TDH:
        e->reg[off / 4] = v & 0xffff;
        break;
    case RDLEN:
    case TDLEN:
        e->reg[off / 4] = v & 0xfff80;
        break;
    case RDBAL:
    case TDBAL:
        e->reg[off / 4] = v & ~0xfu;
        break;
    default:
        e->reg[off / 4] = v;
        break;
    }
}

/* Registers by index and data ports. */
static uint64_t io_read(void *dev, uint64_t off, unsigned size)
{
    struct e1000 *e = dev;

    return off == 0 ? R(e, 0x7ffc) : off == 4 ? e1000_read(e, R(e, 0x7ffc), size) : 0;
}

static void io_write(void *dev, uint64_t off, uint64_t value, unsigned size)
{
    struct e1000 *e = dev;

    if (off == 0) {
        R(e, 0x7ffc) = (uint32_t)value & 0x1fffc;
    } else if (off == 4) {
        e1000_write(e, R(e, 0x7ffc), value, size);
    }
}

static const struct io_ops e1000_io = { .read = e1000_read, .write = e1000_write, .max_size = 4 };
static const struct io_ops e1000_port_io = { .read = io_read, .write = io_write, .max_size = 4 };

static void fill_eeprom(struct e1000 *e)
{
    uint16_t sum = 0;

    for (unsigned i = 0; i < 3; i++) {
        e->eeprom[i] = le16_get(e->mac + i * 2);
    }
    e->eeprom[8] = 0x3000;
    e->eeprom[9] = 0x1000;
    e->eeprom[10] = 0x6403;
    e->eeprom[11] = e->is_82574 ? 0x10d3 : 0x100e;
    e->eeprom[12] = PCI_VENDOR_INTEL;
    e->eeprom[13] = e->eeprom[11];
    e->eeprom[14] = PCI_VENDOR_INTEL;
    e->eeprom[15] = 0x3040;
    for (unsigned i = 0; i < 0x3f; i++) {
        sum = (uint16_t)(sum + e->eeprom[i]);
    }
    e->eeprom[0x3f] = (uint16_t)(0xbaba - sum);
}

static int common_init(struct e1000 *e, struct err **err)
{
    int r = nic_parse_mac(e->mac_text, e->mac, err);

    if (r == 0 && e->netdev_id != NULL) {
        r = nic_attach(e->pd.dev.m, e->netdev_id, e1000_receive, NULL, e, &e->nd, err);
    }
    fill_eeprom(e);
    pci_add_bar_io(&e->pd, 0, PCI_BAR_MEM32, MMIO_BYTES, &e1000_io, e, "e1000");
    return r;
}

static int e1000_init(struct pci_dev *pd, struct err **err)
{
    struct e1000 *e = (struct e1000 *)pd;
    int r = common_init(e, err);

    pci_add_bar_io(pd, 1, PCI_BAR_IO, 64, &e1000_port_io, e, "e1000-io");
    return r == 0 ? pci_add_rom(pd, "efi-e1000.rom", err) : r;
}

static int e1000e_init(struct pci_dev *pd, struct err **err)
{
    struct e1000 *e = (struct e1000 *)pd;
    int r;

    e->is_82574 = true;
    r = common_init(e, err);
    pci_add_bar_io(pd, 2, PCI_BAR_IO, 32, &e1000_port_io, e, "e1000e-io");
    pci_add_power_management(pd);
    pci_add_msi(pd, 1);
    if (r == 0) {
        r = pci_add_msix(pd, 3, 5, err);
    }
    return r == 0 ? pci_add_rom(pd, "efi-e1000e.rom", err) : r;
}

static void e1000_reset(struct pci_dev *pd)
{
    struct e1000 *e = (struct e1000 *)pd;

    R(e, ICR) = 0;
    reset_registers(e);
}

static void e1000_done(struct pci_dev *pd)
{
    nic_detach(((struct e1000 *)pd)->nd);
}

static void e1000_boot_path(const struct device *dev, char *buf, size_t len)
{
    (void)snprintf(buf, len, "ethernet@%x/ethernet-phy@0",
                   ((const struct pci_dev *)dev)->devfn >> 3);
}

static int e1000_post_load(struct device *dev, struct err **err)
{
    struct e1000 *e = (struct e1000 *)dev;

    if (e->tx_len > MAX_TX - MIN_FRAME) {
        return err_set(err, EINVAL, "e1000: the saved state is broken");
    }
    return 0;
}

static const struct pci_class e1000_pci = {
    .vendor = PCI_VENDOR_INTEL,
    .device = 0x100e,
    .class_code = 0x020000,
    .revision = 3,
    .pin = 1,
    .init = e1000_init,
    .done = e1000_done,
    .reset = e1000_reset,
};

static const struct pci_class e1000e_pci = {
    .vendor = PCI_VENDOR_INTEL,
    .device = 0x10d3,
    .subsystem_vendor = PCI_VENDOR_INTEL,
    .class_code = 0x020000,
    .pin = 1,
    .express = true,
    .init = e1000e_init,
    .done = e1000_done,
    .reset = e1000_reset,
};

static const struct state_field e1000_fields[] = {
    FIELD(struct e1000, mac),
    FIELD(struct e1000, reg),
    FIELD(struct e1000, phy),
    FIELD(struct e1000, ee_shift),
    FIELD(struct e1000, ee_bits),
    FIELD(struct e1000, ee_address),
    FIELD(struct e1000, ee_reading),
    FIELD(struct e1000, ctx),
    FIELD(struct e1000, popts),
    FIELD(struct e1000, tse),
    FIELD(struct e1000, tx_len),
    FIELD(struct e1000, tx),
    FIELD_END,
};

const struct device_class e1000_class = {
    .name = "e1000",
    .desc = "Intel gigabit card (82540EM)",
    .opts = e1000_opts,
    .size = sizeof(struct e1000),
    .pci = &e1000_pci,
    .boot_path = e1000_boot_path,
    .fields = e1000_fields,
    .post_load = e1000_post_load,
    PCI_DEVICE_CALLBACKS,
};

const struct device_class e1000e_class = {
    .name = "e1000e",
    .desc = "Intel gigabit card (82574L)",
    .opts = e1000_opts,
    .size = sizeof(struct e1000),
    .pci = &e1000e_pci,
    .boot_path = e1000_boot_path,
    .fields = e1000_fields,
    .post_load = e1000_post_load,
    PCI_DEVICE_CALLBACKS,
};
