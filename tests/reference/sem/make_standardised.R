# lavaan's standardizedSolution of a continuous and an ordinal model. Run in this folder: Rscript make_standardised.R
suppressPackageStartupMessages({library(lavaan); library(jsonlite)})
hs <- read.csv("../hs1939.csv")
bfi <- read.csv("../invariance/bfi10.csv")
items <- c(paste0("A", 1:5), paste0("E", 1:5))
three <- "visual =~ x1 + x2 + x3
textual =~ x4 + x5 + x6
speed =~ x7 + x8 + x9
speed ~ visual + textual"
two <- "A =~ A1 + A2 + A3 + A4 + A5
E =~ E1 + E2 + E3 + E4 + E5"
keep <- function(fit) standardizedSolution(fit)
out <- list(versions = list(R = R.version.string, lavaan = as.character(packageVersion("lavaan"))),
  models = list(hs = three, bfi = two),
  hs_ml = keep(sem(three, hs)), hs_mlr_groups = keep(sem(three, hs, estimator = "MLR", group = "school")),
  bfi_wlsmv = keep(cfa(two, bfi, ordered = items, estimator = "WLSMV")))
write_json(out, "standardised.json", digits = 12, auto_unbox = TRUE, na = "null", dataframe = "rows")
