/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/accel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

/* Any place that no RAM, ROM or device uses; Intel's VT-x wants them in real mode
 * (KVM api.rst, KVM_SET_TSS_ADDR, KVM_SET_IDENTITY_MAP_ADDR). */
#define IDENTITY_MAP_GPA 0xfeffc000u
#define TSS_GPA          0xfeffd000u

int accel_sys_ioctl(struct accel *a, unsigned long request, void *arg)
{
    int r = a->p->ioctl(a->sys_fd, request, arg);

    return r < 0 ? -errno : r;
}

int accel_vm_ioctl(struct accel *a, unsigned long request, void *arg)
{
    int r = a->p->ioctl(a->vm_fd, request, arg);

    return r < 0 ? -errno : r;
}

int accel_open(const struct accel_provider *p, struct accel **ret, struct err **err)
{
    CLEANUP(accel_freep) struct accel *a = calloc(1, sizeof(*a));
    uint64_t identity = IDENTITY_MAP_GPA;
    int r;

    if (a == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    a->p = p;
    a->vm_fd = -1;
    a->sys_fd = p->open();
    if (a->sys_fd < 0) {
        return err_set(err, errno, "cannot open the accelerator '%s': %s", p->name,
                       strerror(errno));
    }
    r = accel_sys_ioctl(a, KVM_GET_API_VERSION, NULL);
    if (r != KVM_API_VERSION) {
        return err_set(err, EPROTO, "accelerator '%s' speaks API version %d, not %d", p->name, r,
                       KVM_API_VERSION);
    }
    r = accel_sys_ioctl(a, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (r < (int)sizeof(struct kvm_run)) {
        return err_set(err, EPROTO, "accelerator '%s' has no vCPU page", p->name);
    }
    a->run_size = (size_t)r;
    do {
        a->vm_fd = accel_sys_ioctl(a, KVM_CREATE_VM, NULL);
    } while (a->vm_fd == -EINTR);
    if (a->vm_fd < 0) {
        r = a->vm_fd;
        return err_set(err, -r, "accelerator '%s' cannot create a VM: %s", p->name, strerror(-r));
    }
    (void)accel_vm_ioctl(a, KVM_SET_IDENTITY_MAP_ADDR, &identity);
    (void)accel_vm_ioctl(a, KVM_SET_TSS_ADDR, (void *)(uintptr_t)TSS_GPA);
    *ret = TAKE_PTR(a);
    return 0;
}

struct accel *accel_free(struct accel *a)
{
    if (a != NULL) {
        if (a->vm_fd >= 0) {
            (void)a->p->close(a->vm_fd);
        }
        if (a->sys_fd >= 0) {
            (void)a->p->close(a->sys_fd);
        }
        free(a);
    }
    return NULL;
}

int accel_make_irqchip(struct accel *a, bool pit, struct err **err)
{
    struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
    int r = accel_vm_ioctl(a, KVM_CREATE_IRQCHIP, NULL);

    if (r < 0) {
        return err_set(err, -r, "accelerator '%s' has no interrupt controllers: %s", a->p->name,
                       strerror(-r));
    }
    r = pit ? accel_vm_ioctl(a, KVM_CREATE_PIT2, &config) : 0;
    return r < 0 ? err_set(err, -r, "accelerator '%s' has no PIT: %s (try -machine pit=off)",
                           a->p->name, strerror(-r))
                 : 0;
}

int accel_set_memory(struct accel *a, unsigned slot, uint64_t gpa, uint64_t size, void *host,
                     bool readonly, struct err **err)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot,
        .flags = readonly ? KVM_MEM_READONLY : 0,
        .guest_phys_addr = gpa,
        .memory_size = size,
        .userspace_addr = (uintptr_t)host,
    };
    int r;

    if (readonly && accel_sys_ioctl(a, KVM_CHECK_EXTENSION, (void *)KVM_CAP_READONLY_MEM) <= 0) {
        region.flags = 0;
    }
    r = accel_vm_ioctl(a, KVM_SET_USER_MEMORY_REGION, &region);
    return r < 0 ? err_set(err, -r, "cannot give the guest %llu KiB of memory at 0x%llx: %s",
                           (unsigned long long)size >> 10, (unsigned long long)gpa, strerror(-r))
                 : 0;
}

void accel_set_irq(struct accel *a, unsigned gsi, int level)
{
    struct kvm_irq_level irq = { .irq = gsi, .level = level != 0 };

    (void)accel_vm_ioctl(a, KVM_IRQ_LINE, &irq);
}

void accel_send_msi(struct accel *a, uint64_t address, uint32_t data)
{
    struct kvm_msi msi = { .address_lo = (uint32_t)address,
                           .address_hi = (uint32_t)(address >> 32),
                           .data = data };

    (void)accel_vm_ioctl(a, KVM_SIGNAL_MSI, &msi);
}

int accel_ioeventfd(struct accel *a, int fd, bool pio, uint64_t addr, unsigned size,
                    const uint64_t *match, bool add)
{
    struct kvm_ioeventfd ev = {
        .addr = addr,
        .len = size,
        .fd = fd,
        .datamatch = match != NULL ? *match : 0,
        .flags = (pio ? KVM_IOEVENTFD_FLAG_PIO : 0) |
                 (match != NULL ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
                 (add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };

    return accel_vm_ioctl(a, KVM_IOEVENTFD, &ev);
}
