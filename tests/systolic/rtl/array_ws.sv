// A weight-stationary systolic array and its controller. Every register is local to a PE or to an edge; the controller
// knows only what it has started, and starts the next fold as soon as the registers that it needs are free.

// One PE. `load` tokens shift the chain of next weights; the head token of a fold that is shorter than the array goes on
// as `zero`, so that the sums cross the rows below unchanged. `swap` comes with a fold's first operand.
module ws_pe
  import types::*;
#(
    parameter bit OVERLAP = 1
) (
    input  logic  clk,
    input  logic  reset,
    input  word_t a_in,
    input  logic  swap_in,
    output word_t a_out,
    output logic  swap_out,
    input  word_t sum_in,
    output word_t sum_out,
    input  word_t chain_in,
    input  logic  load_in,
    input  logic  head_in,
    input  logic  zero_in,
    input  int    left_in,
    output word_t chain_out,
    output logic  load_out,
    output logic  head_out,
    output logic  zero_out,
    output int    left_out
);
  word_t held, chain, weight;
  assign chain_out = chain;
  // The old weight is used in the very cycle whose end replaces it.
  assign weight = OVERLAP ? (swap_in ? chain : held) : chain;

  always_ff @(posedge clk) begin
    a_out <= a_in;
    swap_out <= swap_in & ~reset;
    sum_out <= sum_in + weight * a_in;
    held <= weight;
    if (load_in) chain <= zero_in ? '0 : chain_in;
    // The last push of a fold stops here, but for the head: whoever is below gets zero.
    load_out <= ~reset & load_in & (zero_in | head_in | left_in > 0);
    head_out <= head_in;
    zero_out <= zero_in | (head_in & left_in == 0);
    left_out <= left_in - 1;
    if (reset) begin
      chain <= '0;
      held  <= '0;
    end
  end
endmodule

// R x C PEs, skewed edges, and the controller. `a` is [items, M, K], `b` [items, K, N]; `wrote` marks a sum that left
// column j for output `at`, one cycle after the register of the last row took it.
module array_ws
  import types::*;
#(
    parameter int R = 4,
    parameter int C = 4,
    parameter bit OVERLAP = 1
) (
    input  logic  clk,
    input  logic  reset,
    input  int    M,
    input  int    N,
    input  int    K,
    input  int    count,
    input  fold_t folds[MOST_FOLDS],
    input  word_t a    [MOST_WORDS],
    input  word_t b    [MOST_WORDS],
    output logic  wrote[C],
    output int    at   [C],
    output word_t sum  [C]
);
  // Controller: one fold is loaded while another streams.
  int load_fold, load_step, stream_fold, stream_step;
  logic full, streaming;  // the chain waits for its fold to start; a fold streams and has elements left
  logic start, stream, last, room, load;
  int step, push;
  fold_t next, now;
  always_comb begin
    next = folds[load_fold];
    now = folds[stream_fold];
    start = full & ~streaming;
    stream = start | streaming;
    step = start ? 0 : stream_step;
    last = stream & (step == now.t - 1);
    room = OVERLAP ? ~full | start : (~full & ~stream) | last;
    load = load_fold < count & (load_step > 0 | room);
    push = load_step;
  end
  always_ff @(posedge clk) begin
    full <= (full & ~start) | (load & push == next.r - 1);
    load_step <= load & (push < next.r - 1) ? push + 1 : 0;
    load_fold <= load_fold + int'(load & push == next.r - 1);
    streaming <= stream & ~last;
    stream_step <= step + 1;
    stream_fold <= stream_fold + int'(last);
    if (reset) begin
      full <= 0;
      streaming <= 0;
      load_step <= 0;
      load_fold <= 0;
      stream_fold <= 0;
    end
  end

  // Edges: row i and column j get what the controller sends i and j cycles later.
  word_t left_edge[R][R], top_edge[C][C];
  logic swap_edge[R], load_edge[C], head_edge[C];
  int pushes_edge[C];
  logic valid_edge[R+C];
  int at_edge[R+C], cols_edge[R+C];
  always_comb begin
    for (int i = 0; i < R; i++)
      left_edge[0][i] = stream & i < now.r ? a[(now.item*M+now.step0+step)*K+now.row0+i] : '0;
    for (int j = 0; j < C; j++)
      top_edge[0][j] = load & j < next.c ? b[(next.item*K+next.row0+next.r-1-push)*N+next.col0+j] : '0;
    swap_edge[0] = start;
    load_edge[0] = load;
    head_edge[0] = load & push == 0;
    pushes_edge[0] = next.r - 1 - push;
    valid_edge[0] = stream;
    at_edge[0] = (now.item * M + now.step0 + step) * N + now.col0;
    cols_edge[0] = now.c;
  end
  always_ff @(posedge clk) begin
    for (int d = 1; d < R; d++) begin
      left_edge[d] <= left_edge[d-1];
      swap_edge[d] <= swap_edge[d-1] & ~reset;
    end
    for (int d = 1; d < C; d++) begin
      top_edge[d] <= top_edge[d-1];
      load_edge[d] <= load_edge[d-1] & ~reset;
      head_edge[d] <= head_edge[d-1];
      pushes_edge[d] <= pushes_edge[d-1];
    end
    for (int d = 1; d < R + C; d++) begin
      valid_edge[d] <= valid_edge[d-1] & ~reset;
      at_edge[d] <= at_edge[d-1];
      cols_edge[d] <= cols_edge[d-1];
    end
  end

  word_t across[R][C+1], sums[R+1][C], chain[R+1][C];
  logic swap[R][C+1], push_down[R+1][C], head[R+1][C], zero[R+1][C];
  int left[R+1][C];
  for (genvar i = 0; i < R; i++) begin : row
    assign across[i][0] = left_edge[i][i];
    assign swap[i][0]   = swap_edge[i];
    for (genvar j = 0; j < C; j++) begin : col
      ws_pe #(OVERLAP) pe (
          clk, reset, across[i][j], swap[i][j], across[i][j+1], swap[i][j+1], sums[i][j], sums[i+1][j],
          chain[i][j], push_down[i][j], head[i][j], zero[i][j], left[i][j],
          chain[i+1][j], push_down[i+1][j], head[i+1][j], zero[i+1][j], left[i+1][j]
      );
    end
  end
  for (genvar j = 0; j < C; j++) begin : edges
    assign sums[0][j] = '0;
    assign chain[0][j] = top_edge[j][j];
    assign push_down[0][j] = load_edge[j];
    assign head[0][j] = head_edge[j];
    assign zero[0][j] = 0;
    assign left[0][j] = pushes_edge[j];
    assign wrote[j] = valid_edge[R+j] & j < cols_edge[R+j];
    assign at[j] = at_edge[R+j] + j;
    assign sum[j] = sums[R][j];
  end
endmodule
