# Heterotrait-monotrait ratios by semTools. Run in this folder: Rscript make.R
suppressPackageStartupMessages({library(lavaan); library(semTools); library(jsonlite); library(psychTools)})
as_list <- function(m) { m <- unclass(m); m[upper.tri(m)] <- t(m)[upper.tri(m)]; m }
hs <- read.csv("../hs1939.csv")[, paste0("x", 1:9)]
hs_model <- "visual =~ x1 + x2 + x3
textual =~ x4 + x5 + x6
speed =~ x7 + x8 + x9"
b <- na.omit(bfi[, 1:25])
r <- cor(b)
bfi_model <- "A =~ A1 + A2 + A3 + A4 + A5
C =~ C1 + C2 + C3 + C4 + C5
E =~ E1 + E2 + E3 + E4 + E5
N =~ N1 + N2 + N3 + N4 + N5
O =~ O1 + O2 + O3 + O4 + O5"
out <- list(
  versions = list(R = R.version.string, semTools = as.character(packageVersion("semTools"))),
  hs1939 = list(arithmetic = as_list(htmt(hs_model, sample.cov = cor(hs), htmt2 = FALSE)),
                geometric = as_list(htmt(hs_model, sample.cov = cor(hs), htmt2 = TRUE))),
  bfi = list(n = nrow(b), items = colnames(r), correlations = r,
             arithmetic = as_list(htmt(bfi_model, sample.cov = r, htmt2 = FALSE)),
             geometric = as_list(htmt(bfi_model, sample.cov = r, htmt2 = TRUE))))
write_json(out, "htmt.json", digits = 12, auto_unbox = TRUE, matrix = "rowmajor")

# One factor against two, ten items of bfi (../invariance/bfi10.csv).
d <- read.csv("../invariance/bfi10.csv")
items <- c(paste0("A", 1:5), paste0("E", 1:5))
one <- paste("general =~", paste(items, collapse = " + "))
two <- "A =~ A1 + A2 + A3 + A4 + A5
E =~ E1 + E2 + E3 + E4 + E5"
rivals <- function(estimator, ...) {
  fits <- lapply(c(M1 = one, M5 = two), function(m) cfa(m, d, estimator = estimator, std.lv = TRUE, ...))
  t <- lavTestLRT(fits$M5, fits$M1)
  pe <- parameterEstimates(fits$M5)
  list(models = lapply(fits, function(f) as.list(unclass(fitMeasures(f)))),
       test = list(chisq_diff = t[["Chisq diff"]][2], df_diff = t[["Df diff"]][2], pvalue = t[["Pr(>Chisq)"]][2]),
       correlation = as.list(pe[pe$lhs == "A" & pe$rhs == "E", c("est", "se", "ci.lower", "ci.upper")]))
}
write_json(list(versions = list(R = R.version.string, lavaan = as.character(packageVersion("lavaan"))),
                ml = rivals("ML"), mlr = rivals("MLR"), wlsmv = rivals("WLSMV", ordered = items)),
           "rivals.json", digits = 12, auto_unbox = TRUE, na = "null")
