/* An entropy coder (rANS; J. Duda, arXiv:1311.2540), as in F. Giesen's rans_byte: a state of 31 bits
 * that takes and gives whole bytes, frequencies that sum to 2^16.
 *
 * Each symbol has its row of the table; cumulative has width entries a row, from 0 to 2^16, each
 * above the one before. Callers see to that, to rows below the table's and to symbols below
 * width - 1. The codes' own module has the same in Python (plain.py), to the same bytes.
 */

#include <stddef.h>
#include <stdint.h>

#define PROBABILITY_BITS 16
#define LOWEST_STATE ((uint32_t)1 << 23)
#define STATE_BYTES 4

/* Raised with each change of an interface below. */
int rans_interface(void) { return 1; }

/* Writes n symbols to the end of out; returns how many bytes they take, or -1 where they need more
 * than capacity. */
ptrdiff_t rans_encode(const uint8_t *symbols, const uint16_t *rows, ptrdiff_t n,
                      const uint32_t *cumulative, ptrdiff_t width, uint8_t *out,
                      ptrdiff_t capacity) {
  uint32_t state = LOWEST_STATE;
  ptrdiff_t at = capacity;
  /* The decoder takes last what is written first. */
  for (ptrdiff_t i = n - 1; i >= 0; i--) {
    const uint32_t *entry = cumulative + rows[i] * width + symbols[i];
    const uint32_t start = entry[0], frequency = entry[1] - start;
    const uint32_t limit = frequency << 15; /* 2^31 / 2^16 */
    while (state >= limit) {
      if (at == 0) return -1;
      out[--at] = (uint8_t)state;
      state >>= 8;
    }
    state = ((state / frequency) << PROBABILITY_BITS) + state % frequency + start;
  }
  if (at < STATE_BYTES) return -1;
  at -= STATE_BYTES;
  for (int byte = 0; byte < STATE_BYTES; byte++) out[at + byte] = (uint8_t)(state >> 8 * byte);
  return capacity - at;
}

/* Reads n symbols from all of data; returns 0, or -1 where they do not end where data does. likely
 * is where the search for a symbol begins. */
int rans_decode(const uint8_t *data, ptrdiff_t size, const uint16_t *rows, ptrdiff_t n,
                const uint32_t *cumulative, ptrdiff_t width, ptrdiff_t likely, uint8_t *symbols) {
  uint32_t state = 0;
  ptrdiff_t at = STATE_BYTES;
  if (size < STATE_BYTES) return -1;
  for (int byte = 0; byte < STATE_BYTES; byte++) state |= (uint32_t)data[byte] << 8 * byte;
  if (state < LOWEST_STATE || state >> 31) return -1;
  for (ptrdiff_t i = 0; i < n; i++) {
    const uint32_t *row = cumulative + rows[i] * width;
    const uint32_t slot = state & ((1u << PROBABILITY_BITS) - 1);
    ptrdiff_t symbol = likely;
    /* Codes are mostly zero or near it, so a few steps find one. */
    while (slot < row[symbol]) symbol--;
    while (slot >= row[symbol + 1]) symbol++;
    state = (row[symbol + 1] - row[symbol]) * (state >> PROBABILITY_BITS) + slot - row[symbol];
    while (state < LOWEST_STATE) {
      if (at == size) return -1;
      state = state << 8 | data[at++];
    }
    symbols[i] = (uint8_t)symbol;
  }
  return state == LOWEST_STATE && at == size ? 0 : -1;
}
