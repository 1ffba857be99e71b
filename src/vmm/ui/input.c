/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/ui/input.h"

#include "vmm/machine/machine.h"

void input_add(struct machine *m, struct input_handler *h)
{
    list_prepend(&m->inputs, &h->link);
}

void input_remove(struct input_handler *h)
{
    if (h->link.next != NULL) {
        list_remove(&h->link);
    }
}

void input_key(struct machine *m, unsigned key, bool down)
{
    LIST_FOREACH (&m->inputs, it) {
        struct input_handler *h = CONTAINER_OF(it, struct input_handler, link);

        if (h->key != NULL) {
            h->key(h->arg, key, down);
            return;
        }
    }
}

void input_move(struct machine *m, int dx, int dy, int dz, unsigned buttons)
{
    LIST_FOREACH (&m->inputs, it) {
        struct input_handler *h = CONTAINER_OF(it, struct input_handler, link);

        if (h->relative != NULL) {
            h->relative(h->arg, dx, dy, dz, buttons);
            return;
        }
    }
}

bool input_has_absolute(struct machine *m)
{
    LIST_FOREACH (&m->inputs, it) {
        if (CONTAINER_OF(it, struct input_handler, link)->absolute != NULL) {
            return true;
        }
    }
    return false;
}

void input_pointer(struct machine *m, int x, int y, int dz, unsigned buttons, unsigned width,
                   unsigned height)
{
    int dx = (x - m->pointer_x) * (int)width / INPUT_ABS_MAX;
    int dy = (y - m->pointer_y) * (int)height / INPUT_ABS_MAX;

    LIST_FOREACH (&m->inputs, it) {
        struct input_handler *h = CONTAINER_OF(it, struct input_handler, link);

        if (h->absolute != NULL) {
            m->pointer_x = x;
            m->pointer_y = y;
            h->absolute(h->arg, x, y, dz, buttons);
            return;
        }
    }
    /* What rounding lost stays in the position. */
    m->pointer_x += width > 0 ? dx * INPUT_ABS_MAX / (int)width : 0;
    m->pointer_y += height > 0 ? dy * INPUT_ABS_MAX / (int)height : 0;
    input_move(m, dx, dy, dz, buttons);
}
