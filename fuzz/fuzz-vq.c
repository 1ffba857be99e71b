/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rings made by a hostile driver: the input is guest memory, with the ring's areas in it. */
#include "vmm/dev/virtio/vq.h"
#include "vmm/mem/gmem.h"

#include <stdlib.h>
#include <string.h>

enum { RAM = 16384, SIZE = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gmem mem;
    struct vq vq;
    unsigned mode = size > 0 ? data[0] : 0;
    uint8_t *ram;

    if (mem.n == 0 && gmem_add(&mem, "ram", 0, RAM, false, NULL) < 0) {
        return 0;
    }
    ram = gmem_map(&mem, 0, RAM, true);
    memset(ram, 0, RAM);
    if (size > 1) {
        memcpy(ram, data + 1, size - 1 < RAM ? size - 1 : RAM);
    }
    vq_init(&vq, &mem, SIZE);
    vq.driver_gpa = 512;
    vq.device_gpa = 1024;
    vq.ready = true;
    vq_start(&vq, (mode & 1) != 0, (mode & 2) != 0, (mode & 4) != 0);
    for (unsigned i = 0; i < 64; i++) {
        struct vq_elem *e = NULL;

        if (vq_pop(&vq, &e) != 1) {
            break;
        }
        if (e->n_in > 0) {
            *(uint8_t *)e->in[0].iov_base ^= 1;
        }
        if ((mode & 8) != 0 && i == 1) {
            vq_unpop(&vq, e);
            break;
        }
        vq_push(&vq, e, 1);
        (void)vq_should_notify(&vq);
    }
    return 0;
}
