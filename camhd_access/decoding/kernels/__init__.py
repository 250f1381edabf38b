"""The ProRes 4:2:2 decoder, compiled with numba: bit-exact with libavcodec, in a fraction of the time.

Its conversion to R'G'B' also serves frames of H.264 and HEVC, which libav decodes.

Data passes through these modules (terms of SMPTE RDD 36):

`codes`       the codebooks of the coefficients as look-up tables (section 7.1)
`jobs`        what is to be done for one plane of a slice, as numbers in memory
`entropy`     the coded coefficients of a slice, DC and AC, four slices side by side (section 7.1)
`transform`   dequantisation and the inverse transform, sixteen blocks side by side (sections 7.3, 7.4), to
              the caller's array where blocks are what is wanted, else to a strip of lines
`strips`      lines of a strip to pixels of the wanted format, in the caller's array or added to sums
`frame`       slice headers, rows of slices, and damage: `decode`
`planes`      decoded planes of H.264 and HEVC, of any subsampling, to R'G'B': `convert`
`sums`        images, and their squares, added to sums over time: `add_images`
`entry`       `perform`, the function called from outside: one of these three
`machine`     machine operations that numba does not offer

Three rules apply to all of them:

* All memory belongs to the caller. Kernels get addresses and allocate nothing.
* Nothing is raised. Damage is marked in a map, which the caller checks.
* Damaged bytes may cause reads and writes within the margins stated for each buffer, and
  nowhere else: every store is bounded by a comparison or by the format of the code tables.

Only `compile` imports these modules; a decoding process loads the resulting machine code (see
`decoding.machine_code`).
"""
