/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/dev/chipset/acpi_pm.h"

#include "base/log.h"

#include <string.h>
#include <time.h>

enum {
    STS_POWER_BUTTON = 1 << 8,
    STS_WAKE = 1 << 15,
    STS_W1C = 0xdf31 & ~(1 << 14),
    CNT_SCI_EN = 1,
    CNT_SLP_EN = 1 << 13,
    TIMER_HZ = 3579545,
};

static void update_sci(struct acpi_pm *pm)
{
    bool level = (pm->control & CNT_SCI_EN) != 0 && (pm->status & pm->enable & 0x521) != 0;

    for (unsigned i = 0; i < pm->gpe_len; i++) {
        level |= (pm->gpe_status[i] & pm->gpe_enable[i]) != 0;
    }
    irq_set(&pm->sci, level);
}

static void power_button(void *arg)
{
    struct acpi_pm *pm = arg;

    pm->status |= STS_POWER_BUTTON;
    update_sci(pm);
}

void acpi_pm_init(struct acpi_pm *pm, struct machine *m, unsigned sci, unsigned gpe_len)
{
    pm->m = m;
    pm->sci = machine_irq(m, sci);
    pm->gpe_len = gpe_len;
    m->powerdown = power_button;
    m->powerdown_arg = pm;
    m->pm = pm;
}

void acpi_pm_done(struct acpi_pm *pm)
{
    if (pm->m != NULL && pm->m->pm == pm) {
        pm->m->powerdown = NULL;
        pm->m->pm = NULL;
    }
}

void acpi_pm_reset(struct acpi_pm *pm)
{
    pm->status = pm->enable = pm->control = 0;
    memset(pm->gpe_status, 0, sizeof(pm->gpe_status));
    memset(pm->gpe_enable, 0, sizeof(pm->gpe_enable));
    update_sci(pm);
}

void acpi_pm_enable(struct acpi_pm *pm, bool on)
{
    pm->control = (uint16_t)(on ? pm->control | CNT_SCI_EN : pm->control & ~CNT_SCI_EN);
    update_sci(pm);
}

void acpi_pm_wake(struct acpi_pm *pm)
{
    pm->status |= STS_WAKE | STS_POWER_BUTTON;
}

/* The timer counts real time, also while the machine is stopped: nobody measures by it then. */
static uint32_t timer_value(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint32_t)((uint64_t)ts.tv_sec * TIMER_HZ +
                      (uint64_t)ts.tv_nsec * TIMER_HZ / 1000000000u) &
           0xffffff;
}

static void control_write(struct acpi_pm *pm, uint16_t v)
{
    pm->control =
        (uint16_t)((v & ~(unsigned)(CNT_SLP_EN | CNT_SCI_EN)) | (pm->control & CNT_SCI_EN));
    if ((v & CNT_SLP_EN) == 0) {
        return;
    }
    TRACE(acpi_sleep, "type %u", v >> 10 & 7);
    switch (v >> 10 & 7) {
    case PM_S5:
        machine_request_shutdown(pm->m, CAUSE_GUEST_SHUTDOWN);
        break;
    case PM_S3:
        machine_request_suspend(pm->m);
        break;
    case PM_S4:
        machine_event(pm->m, "SUSPEND_DISK", NULL);
        machine_request_shutdown(pm->m, CAUSE_GUEST_SHUTDOWN);
        break;
    default:
        break;
    }
}

uint64_t acpi_pm_read(struct acpi_pm *pm, uint64_t off, unsigned size)
{
    uint64_t v = 0;
    uint8_t regs[12] = { 0 };
    uint32_t now = timer_value();

    memcpy(regs, &pm->status, 2);
    memcpy(regs + 2, &pm->enable, 2);
    memcpy(regs + PM1_CONTROL, &pm->control, 2);
    memcpy(regs + PM_TIMER, &now, 4);
    if (off + size <= sizeof(regs)) {
        memcpy(&v, regs + off, size);
    }
    return v;
}

void acpi_pm_write(struct acpi_pm *pm, uint64_t off, uint64_t value, unsigned size)
{
    if (size == 4 && off == PM1_EVENT) {
        acpi_pm_write(pm, 0, value & 0xffff, 2);
        acpi_pm_write(pm, 2, value >> 16, 2);
    } else if (off == PM1_EVENT && size == 2) {
        pm->status &= (uint16_t) ~(value & STS_W1C);
        update_sci(pm);
    } else if (off == PM1_EVENT + 1 && size == 1) {
        pm->status &= (uint16_t) ~((value << 8) & STS_W1C);
        update_sci(pm);
    } else if (off == PM1_EVENT + 2 && size == 2) {
        pm->enable = (uint16_t)value;
        update_sci(pm);
    } else if (off == PM1_CONTROL) {
        control_write(pm, (uint16_t)value);
        update_sci(pm);
    }
}

uint64_t acpi_pm_gpe_read(struct acpi_pm *pm, uint64_t off, unsigned size)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < size; i++, off++) {
        uint64_t b = off < pm->gpe_len       ? pm->gpe_status[off]
                     : off < 2 * pm->gpe_len ? pm->gpe_enable[off - pm->gpe_len]
                                             : 0;

        v |= b << (i * 8);
    }
    return v;
}

void acpi_pm_gpe_write(struct acpi_pm *pm, uint64_t off, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++, off++) {
        uint8_t b = (uint8_t)(value >> (i * 8));

        if (off < pm->gpe_len) {
            pm->gpe_status[off] &= (uint8_t)~b;
        } else if (off < 2 * pm->gpe_len) {
            pm->gpe_enable[off - pm->gpe_len] = b;
        }
    }
    update_sci(pm);
}

void acpi_pm_gpe_raise(struct acpi_pm *pm, unsigned bit)
{
    pm->gpe_status[bit / 8] |= (uint8_t)(1u << bit % 8);
    update_sci(pm);
}
