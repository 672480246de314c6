/* Where the mask changes from one pixel to the next: positions, which become run lengths, and COCO's string. */

#include "mask.h"

void reserve(Changes *changes, int64_t more) {
    if (changes->count + more <= changes->room) return;
    int64_t room = 2 * (changes->count + more);
    int64_t *larger = realloc(changes->position, (size_t)room * sizeof *larger);
    if (larger == NULL) { changes->failed = 1; changes->count = 0; return; }
    changes->position = larger;
    changes->room = room;
}

/* Add the changes among `count` pixels that are 0 or 1, the first one in `row`. */
void scan(Changes *changes, int64_t row, const uint8_t *inside, int64_t count) {
    int64_t *position = changes->position + changes->count, at = changes->base + row;
    uint8_t before = (uint8_t)changes->state;
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        uint64_t eight, same = before * 0x0101010101010101ull;
        memcpy(&eight, inside + i, 8);
        if (eight == same) continue;
        for (int j = 0; j < 8; j++) {
            *position = at + i + j;
            position += inside[i + j] != before;
            before = inside[i + j];
        }
    }
    for (; i < count; i++) {
        *position = at + i;
        position += inside[i] != before;
        before = inside[i];
    }
    changes->count = position - changes->position;
    changes->state = before;
}

int64_t *lengths_of(Changes *changes, int64_t pixels, int64_t *count) {
    if (!changes->failed) reserve(changes, 1);
    if (changes->failed) return NULL;
    int64_t before = 0, *position = changes->position;
    position[changes->count] = pixels;
    *count = changes->count + 1;
    for (int64_t i = 0; i < *count; i++) { int64_t at = position[i]; position[i] = at - before; before = at; }
    return position;
}
